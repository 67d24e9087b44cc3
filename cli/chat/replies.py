"""The chat's own replies, without a model, in the language of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cli.printing import shown_path
from pipeline.conversation.utterances import Language

MAX_NAMES = 3
MAX_LISTED = 20

_TEXTS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "greeting": "Hello. {what} /help lists the commands.",
        "thanks": "You are welcome. Ask on whenever you like.",
        "yes": "Yes to what? Please ask a whole question.",
        "no": "What did you mean? Say 'No, I meant ...' with the right words, or ask the question another way.",
        "help": "{what} A correction begins with 'No, I meant ...'. These are the commands:",
        "what": "Ask about {documents}, say 'summarise {name}', or ask 'which files do you have?'.",
        "nothing": "There are no documents yet: /docs add PATH adds some.",
        "files": "{n_files}, {n_passages}:",
        "files_n": "{n} documents|1 document",
        "passages_n": "{n} passages|1 passage",
        "more": "and {n} more: /docs list shows all",
        "unread": "{n} files were not read: /docs list --skipped says why.|1 file was not read: /docs list "
        "--skipped says why.",
        "which": "Which document do you mean? A name or a number is enough:",
        "this": "Do you mean {name}?",
        "other": "Which one do you mean? Please name it.",
        "nothing_to_correct": "There is no question yet that could be corrected.",
    },
    "de": {
        "greeting": "Guten Tag. {what} /help nennt die Befehle.",
        "thanks": "Gern geschehen. Fragen Sie ruhig weiter.",
        "yes": "Ja wozu? Bitte stellen Sie eine ganze Frage.",
        "no": "Was war gemeint? Schreiben Sie 'Nein, ich meinte ...' mit den richtigen Worten, oder fragen Sie anders.",
        "help": "{what} Eine Berichtigung beginnt mit 'Nein, ich meinte ...'. Das sind die Befehle:",
        "what": "Fragen Sie nach {documents}, schreiben Sie 'Fasse {name} zusammen', oder fragen Sie 'Welche "
        "Dateien gibt es?'.",
        "nothing": "Es gibt noch keine Dokumente: /docs add PFAD fügt welche hinzu.",
        "files": "{n_files}, {n_passages}:",
        "files_n": "{n} Dokumente|1 Dokument",
        "passages_n": "{n} Abschnitte|1 Abschnitt",
        "more": "und {n} weitere: /docs list zeigt alle",
        "unread": "{n} Dateien wurden nicht gelesen: /docs list --skipped sagt, warum.|"
        "1 Datei wurde nicht gelesen: /docs list --skipped sagt, warum.",
        "which": "Welches Dokument ist gemeint? Ein Name oder eine Nummer genügt:",
        "this": "Ist {name} gemeint?",
        "other": "Was ist gemeint? Bitte nennen Sie es.",
        "nothing_to_correct": "Es gibt noch keine Frage, die berichtigt werden könnte.",
    },
    "tr": {
        "greeting": "Merhaba. {what} Komutlar için /help yazın.",
        "thanks": "Rica ederim. Sormaya devam edebilirsiniz.",
        "yes": "Neye evet? Lütfen tam bir soru sorun.",
        "no": "Ne demek istediniz? Doğru sözlerle 'Hayır, ... demek istedim' yazın ya da soruyu başka türlü sorun.",
        "help": "{what} Düzeltmek için 'Hayır, ... demek istedim' yazın. Komutlar:",
        "what": "{documents} hakkında soru sorun, '{name} özetle' yazın ya da 'hangi dosyalar var?' diye sorun.",
        "nothing": "Henüz belge yok: /docs add YOL ekler.",
        "files": "{n_files}, {n_passages}:",
        "files_n": "{n} belge|1 belge",
        "passages_n": "{n} parça|1 parça",
        "more": "ve {n} tane daha: /docs list hepsini gösterir",
        "unread": "{n} dosya okunamadı: nedenini /docs list --skipped söyler.|"
        "1 dosya okunamadı: nedenini /docs list --skipped söyler.",
        "which": "Hangi belgeyi kastediyorsunuz? Adı ya da numarası yeter:",
        "this": "{name} mi demek istediniz?",
        "other": "Hangisini kastediyorsunuz? Lütfen adını yazın.",
        "nothing_to_correct": "Düzeltilebilecek bir soru henüz yok.",
    },
}


def reply(language: Language, key: str, **values: str) -> str:
    return _TEXTS[language][key].format(**values)


def counted(language: Language, key: str, n: int) -> str:
    """The text for a number. A bar separates the plural from the singular."""
    many, _, single = _TEXTS[language][key].partition("|")
    return (single if n == 1 else many).format(n=n)


def what_to_ask(language: Language, sources: Sequence[str]) -> str:
    """Examples of what to ask about these documents."""
    if not sources:
        return reply(language, "nothing")
    names = [shown_path(source).rpartition("/")[2] for source in sources[:MAX_NAMES]]
    documents = ", ".join(names)
    if len(sources) > len(names):
        documents = f"{counted(language, 'files_n', len(sources))} ({documents}, ...)"
    return reply(language, "what", documents=documents, name=names[0])


def files(language: Language, counts: Mapping[str, int], n_unread: int) -> str:
    """The documents with their numbers of passages, and the number of files that were not read."""
    head = reply(
        language,
        "files",
        n_files=counted(language, "files_n", len(counts)),
        n_passages=counted(language, "passages_n", sum(counts.values())),
    )
    rows = [
        f"- {shown_path(source)}, {counted(language, 'passages_n', n)}"
        for source, n in list(counts.items())[:MAX_LISTED]
    ]
    if len(counts) > MAX_LISTED:
        rows.append(f"- {reply(language, 'more', n=str(len(counts) - MAX_LISTED))}")
    return "\n".join([head, *rows, *([f"\n{counted(language, 'unread', n_unread)}"] if n_unread else [])])


def which_document(language: Language, sources: Sequence[str]) -> str:
    if len(sources) == 1:
        return reply(language, "this", name=shown_path(sources[0]))
    rows = [f"{n}. {shown_path(source)}" for n, source in enumerate(sources[:MAX_LISTED], 1)]
    if len(sources) > MAX_LISTED:
        rows.append(f"- {reply(language, 'more', n=str(len(sources) - MAX_LISTED))}")
    return "\n".join([reply(language, "which"), *rows])
