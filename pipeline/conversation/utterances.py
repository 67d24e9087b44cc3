"""Classifies a line of a conversation: a question about the documents, or one of a few other kinds.

"hello", "thanks", "yes", "exit" and "which files do you have?" are no questions about the documents. A search for them
finds random passages, and joined to the next question they spoil its search too. The rule is a table of phrases by
language. It applies to lines that consist of such phrases alone, and every other line is a question. No model is used.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal["question", "greeting", "thanks", "yes", "no", "leave", "help", "files", "summary", "correction"]
Language = Literal["en", "de", "tr"]
LANGUAGES: tuple[Language, ...] = ("en", "de", "tr")


@dataclass(frozen=True, slots=True)
class Utterance:
    """The kind of a line.

    `about` is the subject of a summary (empty for that of the conversation), the text of a correction, or a question
    without the greeting or the thanks in front of it.
    """

    kind: Kind
    language: Language
    about: str = ""


_PHRASES: dict[Language, dict[Kind, str]] = {
    "en": {
        "greeting": "hello|hi|hey|hiya|howdy|good morning|good afternoon|good evening|good day|greetings|how are you|"
        "how are you doing|how do you do|nice to meet you|hello there|hi there|hey there",
        "thanks": "thanks|thank you|thx|ty|thanks a lot|many thanks|thank you very much|thanks very much|cheers|"
        "thanks so much|thank you so much|no thanks|no thank you|great|perfect|nice|cool|well done|good|very good",
        "yes": "yes|yes please|yep|yeah|ok|okay|sure|of course|right|exactly|correct|please do|go on|go ahead",
        "no": "no|nope|nah|not really|wrong|that is wrong|that's wrong|that is not right|that's not right",
        "leave": "exit|quit|bye|goodbye|good bye|bye bye|see you|see you later|good night|exit()|quit()|:q|:q!|:wq",
        "help": "help|help me|what can you do|what can i ask|what can i do|what can i ask you|how does this work|"
        "how do i use this|what are you|who are you|?",
    },
    "de": {
        "greeting": "hallo|guten tag|guten morgen|guten abend|servus|moin|moin moin|grüß gott|grüß dich|grüezi|"
        "wie geht es dir|wie geht's|wie geht es ihnen",
        "thanks": "danke|danke schön|dankeschön|vielen dank|danke sehr|herzlichen dank|besten dank|nein danke|super|"
        "prima|sehr gut|gut",
        "yes": "ja|ja bitte|jawohl|jo|genau|richtig|klar|natürlich|in ordnung|gerne|stimmt|einverstanden",
        "no": "nein|nee|nö|falsch|das ist falsch|das stimmt nicht|stimmt nicht",
        "leave": "tschüss|tschüß|tschau|ciao|auf wiedersehen|beenden|verlassen|bis bald|gute nacht|ende|schluss",
        "help": "hilfe|hilf mir|was kannst du|was kann ich fragen|was können sie|wie geht das|wer bist du",
    },
    "tr": {
        "greeting": "merhaba|merhabalar|selam|selamlar|günaydın|iyi günler|iyi akşamlar|tünaydın|nasılsın|nasılsınız",
        "thanks": "teşekkürler|teşekkür ederim|teşekkür|çok teşekkürler|çok teşekkür ederim|sağ ol|sağol|sağ olun|"
        "eyvallah|hayır teşekkürler|harika|süper|çok iyi|güzel",
        "yes": "evet|evet lütfen|tamam|olur|tabii|elbette|doğru|peki",
        "no": "hayır|yok|olmaz|yanlış|bu yanlış|değil",
        "leave": "çıkış|çık|hoşça kal|hoşçakal|hoşça kalın|güle güle|görüşürüz|görüşmek üzere|iyi geceler|kapat",
        "help": "yardım|yardım et|ne yapabilirsin|ne sorabilirim|nasıl çalışır|sen kimsin",
    },
}
_FILLERS = "longthread|please|bitte|lütfen|there|again|everyone|all|you|then|dann|o zaman|and|und|ve|well|oh|so"
"""Words between such phrases that do not change the kind."""
_ORDER: tuple[Kind, ...] = ("leave", "help", "thanks", "no", "yes", "greeting")
"""Priority of kinds in a line with several phrases: "ok, bye" is leave, "hi, help" is help."""

_DOCUMENTS_EN = r"(?:files?|documents?|docs?|sources?|texts?|papers?)"
_DOCUMENTS_DE = r"(?:dateien|datei|dokumente?|dokumenten|texte|quellen|unterlagen)"
_DOCUMENTS_TR = r"(?:dosya|belge|doküman|kaynak|metin)"
_FILES: dict[Language, str] = {
    "en": rf"(?:(?:and |so )?(?:which|what|how many) (?:of )?(?:my |your |the |other )?{_DOCUMENTS_EN} (?:do "
    "you have|have you got|"
    r"have you|are there|are here|do you know|do you know about|do you see|can you see|can you read|have you read|"
    r"did you read|do you use|are you using|are loaded|are indexed|are searched|are available|can i ask about|"
    r"are in (?:the|your) index|are in here|do you have access to|do you have there)|"
    rf"(?:please )?(?:can you |could you )?(?:list|show|name)(?: me)?(?: all)?(?: of)?(?: the| your| my| these)? "
    rf"{_DOCUMENTS_EN}"
    rf"(?: please| you have| that you have)?|what do you (?:have|know)|what have you read|(?:which|what|your|"
    rf"the) {_DOCUMENTS_EN})",
    "de": rf"(?:(?:und )?(?:welche|was für|wie viele|wieviele) {_DOCUMENTS_DE} (?:hast du|hast du gelesen|gibt "
    "es|gibt es hier|"
    r"kennst du|liegen vor|sind da|sind geladen|haben sie|haben wir|kannst du lesen|siehst du|durchsuchst du|"
    r"benutzt du|"
    rf"sind verfügbar|sind vorhanden)|(?:bitte )?(?:zeige?|nenne?|liste)(?: mir)?(?: bitte)?(?: alle| die| deine|"
    rf" meine|"
    rf" alle deine)? {_DOCUMENTS_DE}(?: auf| an)?|(?:welche|deine|alle) {_DOCUMENTS_DE}|{_DOCUMENTS_DE} auflisten)",
    "tr": rf"(?:(?:elinde |elindeki |sende |burada |şu an )?(?:hangi|kaç|ne gibi|kaç tane) {_DOCUMENTS_TR}\w* "
    r"(?:var|mevcut|yüklü|okudun|okudunuz|biliyorsun|sahipsin|kullanıyorsun|arıyorsun|görüyorsun)(?: elinde| "
    r"sende| burada)?|"
    rf"(?:tüm |bütün |lütfen )*{_DOCUMENTS_TR}\w* (?:listele|göster|say|listeler misin|gösterir misin|sayar "
    rf"mısın|neler)|"
    rf"hangi {_DOCUMENTS_TR}(?:ler|lar|leri|ları))",
}
_BEFORE_EN = (
    r"(?:(?:please|ok|okay|now|and|so|can you|could you|would you|will you|i want|i need|i'd like|give me|write|"
    r"make) )*"
)
_SHORT_EN = r"(?:short |brief |quick |one-line |good )?"
_SUMMARY: dict[Language, tuple[str, ...]] = {
    "en": (
        rf"{_BEFORE_EN}(?:me )?(?:summari[sz]e|sum up|recap|outline)(?: for me)?(?: (?P<about>.+?))?(?: for me| "
        rf"briefly| please)*",
        rf"{_BEFORE_EN}(?:me )?(?:a |an |the )?{_SHORT_EN}(?:summary|overview|gist|outline|synopsis|tl;dr|tldr)"
        r"(?: (?:of|for|about|from) (?P<about>.+?))?(?: please)?",
        r"(?:and |so |but )?what(?:'s| is| are) (?P<about>.+?) (?:all )?about",
        r"what (?:does|do) (?P<about>(?:the |this |that |these |those )?\S+(?: \S+)?) (?:talk about|deal with|"
        r"contain)",
    ),
    "de": (
        r"(?:bitte )?(?:kannst du |können sie |könntest du |könnten sie |würdest du )?(?:mir )?(?:bitte )?"
        r"(?:fasse?|fassen sie|fasst)(?: mir)?(?: bitte)?(?: kurz)?(?: (?P<about>.+?))?(?: bitte)?(?: kurz)? "
        r"zusammen(?: bitte)?",
        r"(?:bitte )?(?:kannst du |können sie |könntest du |könnten sie |würdest du )?(?:mir )?(?:bitte "
        r")?(?:(?P<about>.+?) )?"
        r"(?:bitte )?(?:kurz )?zusammenfassen",
        r"(?:bitte )?(?:(?:gib|geben sie|schreibe?|mach|mache|erstelle|ich möchte|ich brauche)(?: mir)?(?: "
        r"bitte)? )?(?:eine |die )?"
        r"(?:kurze |knappe )?(?:zusammenfassung|übersicht|inhaltsangabe)"
        r"(?: (?:von|vom|der|des|für|über|zu|zum|zur) (?P<about>.+?))?(?: bitte)?",
        r"(?:und )?(?:worum|um was) geht(?:'s| es)(?: denn)? (?:in|im|bei|beim) (?P<about>.+?)",
        r"(?:und )?(?:worum|um was) geht(?:'s| es)(?: hier| da| darin)?",
        r"(?:und )?(?:wovon|von was) (?:handelt|handeln|erzählt) (?P<about>.+?)",
        r"was steht (?:in|im) (?P<about>.+?)",
    ),
    "tr": (
        r"(?:lütfen )?(?:bana )?(?:(?P<about>.+?) )?(?:kısaca )?(?:özetle|özetler misin|özetleyin|özetleyebilir "
        r"misin|özetleyiver)"
        r"(?: lütfen)?",
        r"(?:lütfen )?(?:bana )?(?:(?P<about>.+?) )?(?:kısa )?(?:bir )?(?:özeti?|özetini|özet)"
        r"(?: (?:ver|yaz|çıkar|yap|verir misin|çıkarır mısın|yazar mısın|hazırla|lazım|istiyorum|nedir))?(?: "
        r"lütfen)?",
        r"(?P<about>.+?) (?:ne hakkında|neyle ilgili|ne ile ilgili|neden bahsediyor|ne anlatıyor|neyi anlatıyor|"
        r"ne içeriyor)",
        r"(?P<about>.+?) (?:ne|neler) (?:yazıyor|anlatılıyor)",
    ),
}
_CORRECTION: dict[Language, tuple[str, ...]] = {
    "en": (
        r"(?:(?:no|nope|sorry|wait|oh|oops|but|pardon|not that)[\s,.!;:–—-]+)*i (?:meant|was asking about|asked "
        r"about|wanted to (?:say|ask))"
        r"(?: to (?:say|ask|write))?[\s,:]+(?P<about>.+)",
        r"(?:no|nope|sorry|wait|oh|oops|pardon)[\s,.!;:–—-]+(?:i mean|rather|make that|correction|it should be|"
        r"not that one but)"
        r"[\s,:]+(?P<about>.+)",
        r"(?:correction|i mean)[\s]*:[\s]*(?P<about>.+)",
    ),
    "de": (
        r"(?:(?:nein|nee|nö|sorry|entschuldigung|moment|halt|pardon|doch|aber|ach)[\s,.!;:–—-]+)*"
        r"(?:ich meinte|ich meine|gemeint (?:war|habe ich|ist)|ich wollte (?:sagen|fragen))(?: doch| aber| "
        r"eigentlich)?"
        r"[\s,:]+(?P<about>.+)",
        r"(?:(?:nein|nee|nö|sorry|entschuldigung|moment|halt|pardon)[\s,.!;:–—-]+)(?:sondern|vielmehr|"
        r"korrektur)[\s,:]+(?P<about>.+)",
    ),
    "tr": (
        r"(?:(?:hayır|yok|pardon|dur|aslında|ama|özür dilerim)[\s,.!;:–—-]+)*(?:ben "
        r")?(?P<about>.+?)(?:['’]?\s*(?:demek istedim|demek istemiştim|"
        r"kastettim|kastetmiştim|demiştim))",
    ),
}
_LEADING: tuple[Kind, ...] = ("greeting", "thanks", "yes", "no")
_END = re.compile(r"[\s.!?,;:…。！？)\"'’”»]+\Z")
_APART = re.compile(r"[\s,.!;:…–—-]+")


def read_utterance(text: str) -> Utterance:
    """The kind of a line.

    Rules in order: phrases of the tables alone; a list of the documents; a correction; a summary; else a question,
    whose language is guessed by its words.
    """
    line = plain(" ".join(text.split()))
    small = _small_talk(line)
    if small is not None:
        return small
    bare = _END.sub("", line)
    for language in LANGUAGES:
        if re.fullmatch(_one_i(_FILES[language]), bare):
            return Utterance("files", language)
    shown = " ".join(unicodedata.normalize("NFC", text).split())
    for kind, table in (("correction", _CORRECTION), ("summary", _SUMMARY)):
        for language in LANGUAGES:
            about = _about(shown, table[language])
            if about is not None and not (kind == "correction" and not about):
                return Utterance(kind, language, about)  # type: ignore[arg-type]
    question = without_small_talk(shown)
    return Utterance("question", language_of(question), question)


def without_small_talk(text: str) -> str:
    """The text without a leading greeting or thanks that ends with a punctuation mark: "Hi, when ...?"."""
    rest = text.strip()
    while True:
        mark = re.match(r"([^,.!?;:–—\n]{1,40})[,.!;:–—]+\s*(?=\S)", rest)
        small = _small_talk(plain(mark.group(1))) if mark else None
        if mark is None or small is None or small.kind not in _LEADING:
            return rest
        rest = rest[mark.end() :]


def plain(text: str) -> str:
    """Case folded, in composed letters, and with one i for the two of Turkish."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u0307", "").replace("ı", "i").replace("’", "'")
    return unicodedata.normalize("NFC", text)


def _about(text: str, patterns: tuple[str, ...]) -> str | None:
    """The subject named by the pattern that matches the whole line, in the person's spelling; None without a match."""
    bare = _END.sub("", text)
    folded, origins = "", []
    for n, character in enumerate(bare):
        piece = plain(character)
        folded += piece
        origins += [n] * len(piece)
    for pattern in patterns:
        match = re.fullmatch(_one_i(pattern), folded)
        if match is None:
            continue
        start, end = match.span("about") if "about" in match.groupdict() else (0, 0)
        return bare[origins[start] : origins[end - 1] + 1].strip(" ,") if max(start, 0) < end else ""
    return None


def _one_i(pattern: str) -> str:
    """Replaces the dotless i, as `plain` does."""
    return pattern.replace("ı", "i")


@cache
def _phrases() -> dict[str, tuple[Kind, Language]]:
    return {
        plain(phrase): (kind, language)
        for language in reversed(LANGUAGES)  # English first where two languages share a phrase
        for kind, joined in _PHRASES[language].items()
        for phrase in joined.split("|")
    }


@cache
def _longest() -> int:
    return max(len(phrase.split()) for phrase in _phrases())


def _small_talk(line: str) -> Utterance | None:
    """The utterance of a line that consists of phrases of the tables; None for other lines and empty ones."""
    table = _phrases()
    whole = line.strip()
    if whole in table:
        return Utterance(*table[whole])
    words = [word for word in _APART.split(whole.rstrip("?")) if word.strip("'\"()")]
    entries: list[tuple[Kind, Language]] = []
    n = 0
    while n < len(words):
        for size in range(min(_longest(), len(words) - n), 0, -1):
            phrase = " ".join(words[n : n + size])
            if phrase in table:
                entries.append(table[phrase])
                break
        else:
            if words[n] not in _FILLERS.split("|"):
                return None
            size = 1
        n += size
    for kind in _ORDER:
        for other, language in entries:
            if other == kind:
                return Utterance(kind, language)
    return None


def language_of(text: str, default: Language = "en") -> Language:
    """The language with most function words in the text; the default without any, or in a tie."""
    from pipeline.conversation.followup_words import WORDS

    words = re.findall(r"\w+", plain(text))
    counts = {language: sum(word in WORDS[language].function for word in words) for language in LANGUAGES}
    top = max(counts.values())
    best = [language for language in LANGUAGES if counts[language] == top]
    return default if not top or default in best else best[0]
