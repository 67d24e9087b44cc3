"""Detects the language of a text, and gives its stop words and its stemmer. Fast, and the same on every machine.

A script with one stemmer decides the language by itself (Greek, Cyrillic, Arabic, ...). A text in Latin letters counts
as English unless several stop words of another language outnumber the English ones. Words that are common in English
texts as well (`die`, `war`, `son`, `van`) can add to such evidence but never start it: a short English question must
not be taken for Dutch. Stop words come from bm25s if it has them. Those of other languages, and a few more question
words, are below.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

from pipeline.text.normal import fold_case, fold_shapes

ENGLISH = "english"
COMMA_DECIMAL = frozenset(
    "german french spanish italian portuguese dutch danish norwegian swedish finnish turkish russian polish czech "
    "hungarian romanian catalan indonesian greek".split()
)
"""Languages that write ten and a half as 10,5, and group thousands with points."""

_LISTS = {
    "german": "GERMAN", "french": "FRENCH", "spanish": "SPANISH", "italian": "ITALIAN", "portuguese": "PORTUGUESE",
    "dutch": "DUTCH", "danish": "DANISH", "norwegian": "NORWEGIAN", "swedish": "SWEDISH", "turkish": "TURKISH",
    "russian": "RUSSIAN",
}  # fmt: skip
"""The lists of bm25s. An older version lacks some: those languages then have only the words below."""

_MORE = {
    "german": "aber als am an auch auf aus bei das dass dem den der des die ein eine einem einen einer es für hat "
    "hatte "
    "ich ihr im in ist kann mit nach nicht noch nur oder sein seine sich sie sind so um und von vor war was "
    "wenn wer wie  wir wird wo zu zum zur über wen wem wessen wann warum weshalb wieso woher wohin womit "
    "welche welcher welches wurde  wurden wieviel viele gibt hiess heisst haben",
    "turkish": "acaba ama bir bu çok da daha de değil diye en gibi hangi hem her için ile ise kaç kaçıncı kadar ki kim "
    "kimin kimdir mi mı mu mü nasıl ne neden nedir nerede neresi niçin o olan olarak oldu olduğu olduğunu "
    "onun sonra şu  ve veya ya vardır var yok zaman tarafından hangisi hangisidir",
    "french": "combien comment pourquoi quand quel quelle quels quelles où qui quoi dont cette cet lorsque quelqu "
    "aussi "
    "a été avait fait sont plus il y",
    "spanish": "cuál cuáles cuándo cuánto cuántos cuánta cuántas cómo dónde quién quiénes qué es",
    "italian": "quando quanti quante dove come chi cosa quale quali perché che è",
    "portuguese": "qual quais quando quanto quantos quantas onde quem porque é foi são",
    "dutch": "waar wanneer waarom welke hoeveel wie hoe deed",
    "danish": "hvad hvem hvor hvornår hvorfor hvordan hvilken hvilket mange og",
    "norwegian": "hva hvem hvor når hvorfor hvordan hvilken hvilket mange og",
    "swedish": "vad vem var när varför hur vilken vilket vilka många och",
    "finnish": "ja on ei se että oli hän joka mutta kuin myös ovat niin sen kun mikä mitä kuka missä milloin miksi "
    "miten "
    "montako kuinka tämä nämä sekä tai olla hänen sitä jos ollut",
    "hungarian": "a az és hogy nem is egy ez van volt ki mi hol mikor miért hogyan mennyi hány melyik azt meg csak "
    "de ha "
    "már még mint vagy el lesz között által ezt",
    "romanian": "și în la cu de pe este un o nu care din pentru sunt mai a fost cine unde când cum cât câți ce care "
    "prin "
    "sau dar că să al ale lui era",
    "catalan": "el la els les de del dels i en un una és que amb per al als no qui on quan com quant quants què quina "
    "quin  són era va aquest aquesta més però",
    "polish": "i w na z się nie do jest to że o jak po co ale od za czy kto gdzie kiedy dlaczego ile który która które "
    "przez  oraz dla był była było są jego ich może",
    "czech": "a v na se je že s z do i to o k pro jak ale za by kdo kde kdy proč kolik který která které jsou byl byla "
    "bylo od po při nebo jako až jeho",
    "indonesian": "yang dan di dari ini itu dengan untuk pada adalah dalam tidak akan oleh ke apa siapa kapan mengapa "
    "bagaimana berapa mana juga telah ada sebagai atau karena mereka",
    "lithuanian": "ir yra kad iš su į ne buvo kas kur kada kodėl kaip kiek kuris kuri tai bet ar už nuo per dėl jis ji",
    "estonian": "ja on ei see et oli ta kes kus millal miks kuidas mitu mis ka kui aga või oma ning olid pole",
    "basque": "eta da du ez dira zen bat nor non noiz zergatik nola zenbat zein hau ere baina edo izan zuen dute",
    "irish": "agus an na is tá bhí ar sé sí go don ní cé cathain conas cad ag leis le ó faoi nach",
    "greek": "και το να του η της με που την από για είναι τα οι των στο ο θα σε δεν τον στην τη μια ένα ποιος ποια "
    "πού  πότε γιατί πώς πόσο πόσα τι ήταν",
    "arabic": "في من على إلى أن ما هو هي هذا هذه التي الذي كان عن مع لا كم متى أين كيف لماذا هل و أو ثم",
    "hindi": "के का की में है और से को पर यह कि हैं ने था थे एक क्या कब कहाँ क्यों कैसे कितने कौन भी तो हो",
}

_ENGLISH_QUESTION_WORDS = frozenset("what which who whom whose when where why how".split())
"""Question words that the English list of bm25s lacks. With them, results on Cranfield and CISI are better."""

_ALSO_ENGLISH = frozenset(
    "a ad ai al ali all alle also am an and ar are art as at bald be ben bin but by can care come con da dale dan "
    "de del den der des di die do door dos dove du due e el else em en era es et even ever far fare fate for fra "
    "fur gar ge go gut had hall hand has hat have he hem her here hers him his hun i if il in is it its kan la "
    "las le les lo los ma mal man mange mar me men met mi mine mir mis mit mon more most na net no nor not nu o "
    "of off old ole om on once one ones op or os our out over par pas past per pole por post pour pro que sa san "
    "sans se see sein si sin sind so sole some son sous sta su sum sur ta tale te ten the then there they ti to "
    "ton too tot tu tun u un una und up us van via von vor want war was we were what when where who will with wo "
    "won y you your".split()
)
"""Stop words of other languages that also occur in English texts, names among them."""

_NONE: frozenset[str] = frozenset()
_LETTERS = {
    language: frozenset(letters)
    for language, letters in {
        "german": "äöü", "turkish": "çöü", "swedish": "åäö", "danish": "åæø", "norwegian": "åæø", "spanish": "áéíóú",
        "french": "éèêàçùœîô", "portuguese": "çáéêí", "italian": "àèìòù", "polish": "ćęóś", "czech": "ščžýáí",
        "romanian": "âîşţ", "hungarian": "áéíóöü", "finnish": "äö", "catalan": "àçèéíòóú", "lithuanian": "ąčęšūž",
        "estonian": "äöõü", "irish": "áéíóú",
    }.items()
}  # fmt: skip
_OWN_LETTERS = {
    language: frozenset(letters)
    for language, letters in {
        "turkish": "ğış", "polish": "łńźż", "czech": "ěřů", "romanian": "ășț", "hungarian": "őű", "portuguese": "ãõ",
        "spanish": "ñ", "lithuanian": "ėįų",
    }.items()
}  # fmt: skip

_SCRIPTS = (
    ("\u0370", "\u03ff", "greek"),
    ("\u0400", "\u04ff", "russian"),
    ("\u0531", "\u058f", "armenian"),
    ("\u0600", "\u06ff", "arabic"),
    ("\u0900", "\u097f", "hindi"),
    ("\u0b80", "\u0bff", "tamil"),
    ("\u1f00", "\u1fff", "greek"),
)
_SERBIAN = frozenset("ђјљњћџ")


@cache
def stop_words(language: str) -> frozenset[str]:
    """The stop words of a language, folded as in `pipeline.text`. Empty for a language without a list."""
    from bm25s import stopwords

    if language == ENGLISH:
        return frozenset(stopwords.STOPWORDS_EN) | _ENGLISH_QUESTION_WORDS
    listed = getattr(stopwords, f"STOPWORDS_{_LISTS[language]}", ()) if language in _LISTS else ()
    words = {*listed, *_MORE.get(language, "").split()}
    return frozenset(fold_case(fold_shapes(word)) for word in words)


@cache
def english_function_words() -> frozenset[str]:
    """The long list of English stop words: those of `stop_words` and the words that form questions."""
    from bm25s.stopwords import STOPWORDS_EN, STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN) | frozenset(STOPWORDS_EN_PLUS)


@cache
def _claims() -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """The words that are evidence for another language than English: all of them, and those of each language."""
    familiar = english_function_words() | _ALSO_ENGLISH
    latin = sorted((set(_LISTS) | set(_MORE)) - {"russian", "greek", "arabic", "hindi"})
    claims = {language: stop_words(language) - familiar for language in latin}
    return frozenset().union(*claims.values()), claims


@cache
def _claims_as_written() -> frozenset[str]:
    every, _ = _claims()
    return frozenset({*every, *(word.capitalize() for word in every), *(word.upper() for word in every)})


def load_lists() -> None:
    """Loads the lists of stop words, which imports SciPy. Whoever has time before the first question may do it then."""
    _claims_as_written()


def may_be_foreign(tokens: list[str]) -> bool:
    """A fast check whether `language_of` is needed at all. False for nearly every English text."""
    return not _claims_as_written().isdisjoint(tokens) or not "".join(tokens).isascii()


def language_of(words: Collection[str]) -> str:
    """The language of a text's case-folded words; English without clear evidence for another one.

    Evidence is stop words, and words with letters that no other language has. Letters shared with other languages count
    once. At least two pieces of evidence are needed, and more than there are English stop words. Words in non-Latin
    scripts do not count: their script decides their stemmer. A tie goes to the first language by name.
    """
    every, claims_of = _claims()
    words = words if isinstance(words, (set, frozenset)) else set(words)
    strong = words & every
    accented = [word for word in words if not word.isascii() and word < "\u0370"]  # Latin letters end before Greek
    if not strong and not accented:
        return ENGLISH
    english = words & english_function_words()
    best, language = 1, ENGLISH
    for name, claimable in claims_of.items():
        stops = stop_words(name)
        claimed = strong & claimable
        spelt = {word for word in accented if not _OWN_LETTERS.get(name, _NONE).isdisjoint(word)} - stops
        if not claimed and not spelt:
            continue
        letters = _LETTERS.get(name, _NONE)
        n_evidence = len(words & stops) + len(spelt) + any(not letters.isdisjoint(word) for word in accented)
        if n_evidence > best and n_evidence > len(english - stops):
            best, language = n_evidence, name
    return language


def script_language(word: str) -> str | None:
    """The language of the stemmer for a word's script; None for Latin letters and scripts without a stemmer."""
    first = word[0]
    if first < "\u0370":
        return None
    for start, end, language in _SCRIPTS:
        if start <= first <= end:
            return "serbian" if language == "russian" and not _SERBIAN.isdisjoint(word) else language
    return None


@cache
def stemmer(language: str) -> Callable[[str], str]:
    """The function that stems a word of a language. It returns the word if PyStemmer does not know the language."""
    import Stemmer

    if language not in Stemmer.algorithms():
        return str
    stem: Callable[[str], str] = Stemmer.Stemmer(language, 0).stemWord
    return stem
