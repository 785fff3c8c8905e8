"""Refusals, excuses and boilerplate: words that answer nothing, and in which two models agree on nothing.

A refusal is how a text opens, or all that it is. An apology in a letter, words that somebody is quoted with, and
"I cannot come tomorrow" as a translation are answers. English, and the commonest forms in German, Spanish, French,
Italian, Portuguese and Chinese. Pure.
"""

from __future__ import annotations

import re

_WINDOW = 160
_BRIEF = 25

_VERBS = (
    "answer|provide|determine|assist|help(?! but)|tell|say|give|do (?:that|this|so)|fulfill?|comply|complete|create"
    "|generate|discuss|access|see|view|find|solve|calculate|compute|confirm|verify|respond|continue|process|predict|know|offer|share"
    "|engage|support|recommend|browse|read|understand|write|produce|make|be|guess|identify|comment|advise"
)
_APOLOGY = r"(?:but|however|i (?:cannot|cant|can not|could not|couldnt|do|dont|wont|have|am)|im|no|as an|this is)\b"
_REFUSES = re.compile(
    r"(?:\b|(?<=\W))(?:"
    r"(?:i am|im) (?:unable|not (?:able|sure|certain|allowed|permitted|in a position))\b"
    rf"|(?:(?:i am|im) (?:so |very |really |truly )?|^)sorry(?:[.!]?$|[,.;:!]?\s+(?:{_APOLOGY}|for (?:any|the)"
    rf" (?:confusion|misunderstanding)))|i apologi[sz]e[,.;:]? (?:{_APOLOGY})"
    rf"|i (?:cannot|cant|can not|could not|couldnt|wont|will not)(?:[.!]?$|,| (?:possibly |really )?(?:{_VERBS})\b)"
    r"|i (?:do not|dont) know\b|i (?:must )?(?:respectfully )?(?:refuse|decline)\b|i will not be able\b"
    r"|i (?:do not|dont) have (?:enough|sufficient|any|access|the (?:ability|information|necessary)"
    r"|information|personal)\b"
    r"|i have no (?:information|access|way|knowledge|opinions?)\b|beyond my (?:abilities|capabilities|knowledge)\b"
    r"|as an? (?:ai|(?:large |ai )?language model)\b"
    r"|(?:i am|im) (?:just |only |merely )?an? (?:ai|(?:large |ai )?language model|chatbot)\b"
    r"|(?:cannot|cant) (?:answer|provide|determine|assist|help(?! but)|be (?:determined|answered))\b"
    r"|(?:there (?:is|was) )?(?:not enough|insufficient) information\b|there is no way (?:to|of) (?:know|tell)"
    r"|(?:the|your) question (?:is|was|seems) (?:unclear|not clear|incomplete|ambiguous|too vague)\b"
    # German
    r"|(?:es )?tut mir leid(?:[.!]?$|[,.]? (?:aber|ich|dabei|das kann|da kann))|ich weiss (?:es |das )?nicht[.!]?$"
    r"|(?:kann ich|ich kann) (?:\w+ ){0,3}nicht (?:helfen|beantworten|sagen)"
    # Spanish
    r"|lo siento(?:[.!]?$|[,.]? (?:pero|no (?:puedo|tengo|sé|es posible)))|no puedo (?:ayudar|responder|contestar)"
    r"|no tengo (?:suficiente |acceso a )?(?:la )?información|no lo sé[.!]?$"
    # French
    r"|(?:je suis )?désolée?(?:[.!]?$|[,.]? (?:mais|je ne))|je ne peux pas (?:répondre|(?:vous |t)?aider|fournir)"
    r"|je ne sais pas[.!]?$"
    # Italian, Portuguese
    r"|mi dispiace[,.]? (?:ma|non)\b|non posso (?:aiutar|rispondere)|não posso (?:ajudar|responder)"
    r"|desculpe[,.]? (?:mas|não)"
    # Chinese
    r"|(?:抱歉|对不起|很遗憾).{0,4}(?:无法|不能|不知道)|我(?:无法|不能)(?:回答|提供|帮助)|我不知道"
    r")"
)
_VOID = re.compile(
    r"n/a|idk|unknown|not known|no answer|none given|no idea|answer|final answer|error|null"
    r"|(?:error:? )?(?:\d{3} )?(?:internal server error|service unavailable|bad gateway|gateway timeout"
    r"|too many requests|rate limit(?: exceeded| reached)?)|object object|keine ahnung|ich weiss nicht|不知道"
)
_BOILERPLATE = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok|great)[,!. ]*)?(?:(?:here is|heres|here are|below is|this is|see)"
    r"(?: (?:the|my|your|a))?(?: (?:final|correct|complete|full|requested))?"
    r"(?: (?:answer|solution|result|response|explanation|list|code|output|above|below))(?: you asked for)?|here you go)"
    r"|sure|certainly|of course|(?:i )?hope (?:this|that|it) (?:helps|is helpful)\b.*|let me know\b.*|feel free to\b.*"
    r"|(?:is there anything else|please let me know|if you have any)\b.*|it depends"
    r"|(?:could|can|would) you (?:please )?(?:provide|share|give|clarify|specify|rephrase|send)\b.*"
    r"|please (?:provide|share|give|clarify|specify|rephrase|send|enter|ask)\b.*"
    r"|(?:hello|hi|hey)?(?: there)?[ ,]*(?:how (?:can|may) i (?:help|assist)\b.*)|(?:im|i am) here to help\b.*"
    r"|(?:lets|let us|let me) think\b(?: (?:about (?:it|this|that)|step by step))*"
    r"|(?:thats|what) a (?:great|good) question|thank you for (?:your|the) question|what would you like to know"
    r"|(?:my |your |insert |put )*answer(?: goes)? here|todo|tbd|placeholder|undefined|nan|not (?:applicable|specified)"
)
_LEADS = re.compile(
    r"(?:(?:but|and|however|unfortunately|regrettably|so|therefore|well|okay|hello|hi|leider|dabei|das|mais|pero),?\s+)*"
)
_QUOTED = re.compile(r"[\"“«„][^\"”»“]*[\"”»“]")
_LETTER = re.compile(r"(?:subject|betreff|objet|asunto)\s*:|(?:dear|hello|hi|sehr geehrte|liebe|cher|estimad)\b")
_CLAUSE = re.compile(r"[.!?;:\n]+")


def declines(text: str) -> bool:
    """Whether a model's text opens with a refusal or an excuse, or is nothing else."""
    plain = re.sub(r"['’]", "", text.strip().casefold())
    spoken = _QUOTED.sub(" ", plain).strip()
    if _VOID.fullmatch(plain.strip(" .!")) or not spoken:
        return bool(_VOID.fullmatch(plain.strip(' .!"“”')))
    if _LETTER.match(spoken):
        return False
    if len(spoken.split()) <= _BRIEF:
        return _REFUSES.search(spoken) is not None
    return any(_opens(clause) for clause in _CLAUSE.split(spoken[:_WINDOW]))


def says_nothing(spelling: str) -> bool:
    """Whether a spelled answer is empty, a refusal or boilerplate."""
    if not spelling or _VOID.fullmatch(spelling) or _BOILERPLATE.fullmatch(spelling):
        return True
    return _REFUSES.search(spelling) is not None if len(spelling.split()) <= _BRIEF else _opens(spelling)


def _opens(clause: str) -> bool:
    """Whether a clause, or a long text, begins with a refusal."""
    return _REFUSES.match(_LEADS.sub("", clause.strip(), count=1)) is not None
