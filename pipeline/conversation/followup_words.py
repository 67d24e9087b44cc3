"""The words by which the rule of pipeline/conversation/followup.py knows a follow-up, one table a language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pipeline.conversation.utterances import Language, plain


@dataclass(frozen=True)
class FollowUpWords:
    """A language's table. Words are case folded; the patterns match without regard to case.

    `pointers` stand for something said before, unless the question explains them; those in `replaced` give way to the
    phrase that is meant, and the others keep their place, with the phrase in brackets behind them. `person` stand for
    people alone. `function` words carry no content; they also tell the language of a question.

    `quantifiers` announce a plural; only English has them here. `nouns` says how a noun is known: `announced` by a
    determiner, or as a name by its capital (English); `capital` (German); `runs` of content words, where a sentence
    ends with its verb (Turkish).
    """

    function: frozenset[str]
    pointers: frozenset[str]
    replaced: frozenset[str]
    person: frozenset[str]
    plural: frozenset[str]
    possessive: frozenset[str]
    polite: frozenset[str]
    prepositions: frozenset[str]
    determiners: frozenset[str]
    quantifiers: frozenset[str]
    owners: frozenset[str]
    be: frozenset[str]
    places: frozenset[str]
    helpers: frozenset[str]
    not_nouns: frozenset[str]
    times: frozenset[str]
    participles: frozenset[str]
    opening: re.Pattern[str]
    choosing: re.Pattern[str]
    expletive: re.Pattern[str]
    nouns: Literal["announced", "capital", "runs"]


def _set(text: str) -> frozenset[str]:
    """The words as they are and as `plain` writes them."""
    return frozenset(text.split()) | frozenset(plain(text).split())


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_EN_PERSON = _set("he she him his her hers")
_EN_PLURAL = _set("they them their theirs these those")
_EN_POINTERS = _EN_PERSON | _EN_PLURAL | _set("it its this that there")

ENGLISH = FollowUpWords(
    function=_set(
        "a an the this that these those it its he she him his her they them their who whom whose what which "
        "when where "
        "why how much many is are was were be been do does did has have had can could will would shall should may "
        "might must about at by for from in into of on over to under with and but or so also then if not no there i "
        "you we me my your our us tell please else more since"
    ),
    pointers=_EN_POINTERS,
    replaced=_EN_POINTERS,
    person=_EN_PERSON,
    plural=_EN_PLURAL,
    possessive=_set("its his their hers theirs"),
    polite=frozenset(),
    prepositions=_set("about at by for from in into of on over to under with"),
    determiners=_set("the a an this that these those"),
    quantifiers=_set("many few several both two three four five six seven eight nine ten"),
    owners=_set("its his her their our my your"),
    be=_set("is are was were be been"),
    places=_set("there"),
    helpers=_set("do does did can could will would shall should may might must"),
    not_nouns=_set("one ones first last second other another else more same often long far old big way"),
    times=_set("day days week weeks month months year years morning evening night time times kind way"),
    participles=_set("built bought sold made found held kept lost paid known given taken shown written open closed"),
    opening=_pattern(r"(?:and|but|or|so|also|then|what about|how about|what if)\b"),
    choosing=_pattern(
        r"\b(?:which|what|the (?:\w+ )?(?:first|second|last|other|same|next|new|old)\w*) ones?\b|"
        r"\bthe (?:former|latter)\b"
    ),
    expletive=_pattern(
        r"\bit (?:is |was )?(?:true|possible|allowed|necessary|worth|safe|legal|permitted|correct|known|said)\b|"
        r"\bit (?:take|takes|took|cost|costs) (?:\w+ ){0,2}to\b"
    ),
    nouns="announced",
)

_DE_REPLACED = _set("er ihn ihm sie es das dies dieser diese dieses diesen diesem ihnen denen")
_DE_OWNERS = _set("sein seine seinen seinem seiner seines ihr ihre ihren ihrem ihrer ihres dessen deren")
_DE_PLACES = _set("da dort dorthin dahin dorther hier")
_DE_ABOUT = _set("davon darüber damit dafür daran darin dazu daraus dabei darauf darunter dadurch danach davor")

GERMAN = FollowUpWords(
    function=_set(
        "der die das den dem des ein eine einen einem einer eines er ihn ihm sie ihr ihnen es sein seine "
        "seinen seinem "
        "seiner seines ihre ihren ihrem ihrer ihres dies dieser diese dieses diesen diesem jener jene jenes dessen "
        "deren denen man ich du wir mir mich dir dich uns euch mein meine dein deine unser wer wen wem wessen was "
        "welche welcher welches welchen welchem wann wo wohin woher wie warum weshalb wieso wozu viel viele vielen "
        "wieviel ist sind war waren wird werden wurde wurden worden sei hat haben hatte hatten kann können "
        "konnte muss "
        "müssen soll sollen darf dürfen will wollen mag gibt in im an am auf aus bei beim für gegen mit nach "
        "seit über "
        "um unter von vom vor zu zum zur zwischen durch ohne bis und oder aber also dann denn auch noch nur "
        "nicht kein "
        "keine keinen als ob dass wenn weil da dort hier dorthin dahin davon darüber damit dafür daran darin dazu so "
        "bitte sonst mehr etwas ja nein oft lange eigentlich sich heißt heisst"
    ),
    pointers=_DE_REPLACED | _DE_OWNERS | _DE_PLACES | _DE_ABOUT,
    replaced=_DE_REPLACED,
    person=frozenset(),  # er and sie are things as well
    plural=frozenset(),
    possessive=_DE_OWNERS,
    polite=_set("sie ihr ihre ihren ihrem ihrer ihres ihnen"),
    prepositions=_set(
        "in im an am auf aus bei beim für gegen mit nach seit über um unter von vom vor zu zum zur zwischen durch ohne"
    ),
    determiners=_set(
        "der die das den dem des ein eine einen einem einer eines dies dieser diese dieses diesen diesem jener jene "
        "jenes"
    ),
    quantifiers=frozenset(),
    owners=_DE_OWNERS
    | _set("im am vom zum zur beim mein meine meinen dein deine deinen unser unsere unseren euer eure"),
    be=_set("ist sind war waren wird wurde"),
    places=_DE_PLACES,
    helpers=_set("kann können konnte muss müssen soll sollen darf dürfen will wollen hat haben hatte wird wurde"),
    not_nouns=_set("erste erster erstes zweite letzte andere anderer anderes nächste selbe gleiche"),
    times=_set(
        "tag tage tagen woche wochen monat monate jahr jahre jahren morgen abend nacht zeit mal sommer winter "
        "frühling "
        "frühjahr herbst januar februar märz april mai juni juli august september oktober november dezember montag "
        "dienstag mittwoch donnerstag freitag samstag sonntag uhr"
    ),
    participles=frozenset(),
    opening=_pattern(
        r"(?:und|aber|oder|also|dann|auch|was ist mit|was wäre mit|wie ist es (?:mit|bei)|wie sieht es (?:mit|bei)|"
        r"wie sieht's (?:mit|bei)|wie steht es (?:mit|um))\b"
    ),
    choosing=_pattern(
        r"\bwelche[rsnm]? (?:davon|von (?:ihnen|beiden|den beiden)|ist|sind|war|waren|hat|haben)\b|"
        r"\bd(?:er|ie|as|en|em) (?:erste|zweite|letzte|andere|nächste|erstere|letztere)[nrs]?\b(?![ "
        r"](?-i:[a-zäöüß]+ )*(?-i:[A-ZÄÖÜ]))"
    ),
    expletive=_pattern(
        r"\bgibt es\b|\bes gibt\b|\bgeht es\b|\bes geht\b|\bhandelt es\b|\bdauert es\b|\bes dauert\b|\bregnet "
        r"es\b|\bist es (?:\w+ )?"
        r"(?:wahr|möglich|erlaubt|nötig|richtig|bekannt|verboten|sicher)\b|\bes ist (?:\w+ )?(?:wahr|möglich|"
        r"erlaubt|nötig|"
        r"richtig|bekannt|verboten|sicher)\b|\bwie spät ist es\b"
    ),
    nouns="capital",
)

_TR_POINTERS = _set(
    "o onu onun ona onda ondan onunla onlar onları onların onlara onlarda onlardan onlarla bu bunu bunun buna bunda "
    "bundan bununla bunlar bunları bunların bunlara şu şunu şunun şuna orada oraya oradan orası burada buraya buradan"
)

TURKISH = FollowUpWords(
    function=_TR_POINTERS
    | _set(
        "kim kimi kime kimin kimden kimler ne neyi neye neden nedir neler niçin niye nasıl nerede nereye nereden "
        "neresi hangi hangisi kaç kaçta kaça kaçıncı zaman kadar mi mı mu mü midir mıdır mudur müdür miydi mıydı var "
        "yok vardı yoktu ve veya ya da de ile için gibi ama fakat ki bir her çok daha en az bana bize ben sen "
        "biz siz "
        "değil olarak olan oldu olur olacak dir dır ise peki hakkında göre sonra önce lütfen başka e"
    ),
    pointers=_TR_POINTERS,
    replaced=frozenset(),  # a case ending belongs to the pronoun: the phrase goes behind it
    person=frozenset(),
    plural=frozenset(),
    possessive=frozenset(),
    polite=frozenset(),
    prepositions=_set("ile için gibi kadar göre hakkında"),
    determiners=_set("o bu şu bir her"),
    quantifiers=frozenset(),
    owners=_set("benim senin onun bizim sizin onların"),
    be=frozenset(),
    places=_set("orada oraya oradan orası burada buraya buradan"),
    helpers=frozenset(),
    not_nouns=_set("ilk son ikinci diğer öteki aynı sık uzun eski büyük"),
    times=_set(
        "gün günü günde hafta haftada ay ayda yıl yılda yılı sene sabah akşam gece saat saatte kış kışın yaz "
        "yazın bahar "
        "ilkbahar sonbahar ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık pazartesi salı "
        "çarşamba perşembe cuma cumartesi pazar"
    ),
    participles=frozenset(),
    opening=_pattern(r"(?:peki(?: ya)?|ya|ve|ama|fakat|veya|o zaman|ayrıca|e)\b"),
    choosing=_pattern(r"\bhangisi\w*|\b(?:diğeri|öteki|ötekisi|berikisi|ilki|sonuncusu|ikincisi)\w*(?= \w+\W*$|\W*$)"),
    expletive=_pattern(r"(?!)"),
    nouns="runs",
)

WORDS: dict[Language, FollowUpWords] = {"en": ENGLISH, "de": GERMAN, "tr": TURKISH}
