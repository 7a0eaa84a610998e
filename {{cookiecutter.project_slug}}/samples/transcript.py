"""What the sample job in jobs.py knows of call transcripts. It goes when that job goes."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """What one speaker says before the next turn starts."""

    start: int  # seconds since the call began
    room: int  # seconds until the next turn starts
    speaker: str
    text: str

    @property
    def cut_off(self) -> bool:
        """Whether the next speaker interrupts: the text ends with two dashes."""
        return self.text.endswith("--")

    @property
    def talk(self) -> int:
        """Seconds of speech: the room there is, but no more than slow speech would take."""
        return max(1, min(self.room, slowly(self.text)))

    @property
    def silence(self) -> int:
        """Seconds between the end of the speech and the next turn."""
        return max(0, self.room - self.talk)


def slowly(text: str) -> int:
    """Return how many seconds slow speech takes: two words a second."""
    return word_count(text) // 2 + 1


def word_count(text: str) -> int:
    """Count the words; "I'll" is one, and a dash is none."""
    return len(re.findall(r"\w[\w'-]*", text))


LINE = re.compile(r"\[(\d\d):([0-5]\d):([0-5]\d)\] ([^:]+): (\S.*)")


def parse(text: str) -> tuple[list[Turn], list[str]]:
    """Return the turns by time, and the lines that do not look like one."""
    found: list[tuple[int, str, str]] = []
    strays: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if match := LINE.fullmatch(line):
            hours, minutes, seconds, speaker, said = match.groups()
            found.append((int(hours) * 3600 + int(minutes) * 60 + int(seconds), speaker, said))
        else:
            strays.append(line)
    found.sort(key=lambda turn: turn[0])
    turns: list[Turn] = []
    for number, (start, speaker, said) in enumerate(found, start=1):
        # Nothing follows the last turn: it has the room that its words need.
        room = found[number][0] - start if number < len(found) else slowly(said)
        turns.append(Turn(start, room, speaker, said))
    return turns, strays


def tally(turns: Iterable[Turn], measure: Callable[[Turn], int]) -> Counter[str]:
    """Add up a measure of the turns, by speaker."""
    sums: Counter[str] = Counter()
    for turn in turns:
        sums[turn.speaker] += measure(turn)
    return sums


def sentiment(turns: Iterable[Turn], speaker: str) -> float | None:
    """Weigh a speaker's good words against the bad ones: -1 to 1, or None if nothing is said."""
    own = [turn for turn in turns if turn.speaker == speaker]
    good, bad = count(GOOD, own), count(BAD, own)
    # The + 1 keeps a single word from being a verdict.
    return round((good - bad) / (good + bad + 1), 2) if own else None


def long_words(text: str) -> list[str]:
    """Return the words of six letters or more, in lower case."""
    return re.findall(r"[^\W\d_]{6,}", text.lower())


def keywords(turns: Iterable[Turn], used_in: Counter[str], transcripts: int) -> list[str]:
    """Choose six words that are frequent here and in few of the transcripts (TF-IDF)."""
    uses = Counter(word for turn in turns for word in long_words(turn.text))
    weight = {word: n * math.log((transcripts + 1) / used_in[word]) for word, n in uses.items()}
    return sorted(weight, key=lambda word: (-weight[word], word))[:6]


def topic(turns: list[Turn]) -> str:
    """Name the topic whose words are used most."""
    uses = {name: count(words, turns) for name, words in TOPICS.items()}
    return max(uses, key=lambda name: uses[name]) if any(uses.values()) else "something else"


def promises(turns: list[Turn]) -> list[str]:
    """Return the sentences that promise something."""
    sentences = [line for turn in turns for line in re.split(r"(?<=[.!?])\s+", turn.text)]
    return [line for line in sentences if PROMISE.search(line)]


def greets(turns: list[Turn]) -> bool:
    """Say whether the first turn greets and gives a name."""
    return count(GREETING, turns[:1]) > 0


def offers_more(turns: list[Turn]) -> bool:
    """Say whether the last turns ask if there is anything else."""
    return count(ANYTHING_ELSE, turns[-3:]) > 0


def effort(turns: list[Turn]) -> int:
    """Rate from 1 to 5 how often customers say that they have to repeat themselves."""
    return min(1 + count(REPEATED, turns), 5)


def resolved(turns: list[Turn]) -> bool:
    """Say whether customers sound content at the end."""
    return count(CONTENT, turns[-4:]) > count(DISCONTENT, turns[-4:])


def count(pattern: re.Pattern[str], turns: Iterable[Turn]) -> int:
    """Count how often a pattern occurs in the turns."""
    return sum(len(pattern.findall(turn.text)) for turn in turns)


def words(alternatives: str) -> re.Pattern[str]:
    """Return a pattern of whole words or phrases, separated by `|`."""
    return re.compile(rf"\b(?:{alternatives})\b", re.IGNORECASE)


# A toy lexicon, just large enough for the samples: some words of English and German, and no
# grammar, so that "not happy" is good. Real work would use a trained model.
GOOD = words(
    r"thank\w*|glad|happy|great|perfect|lovely|wonderful|excellent|brilliant|fantastic|helpful|"
    r"appreciate|welcome|enjoy|danke?|gute?|schön\w*|besser|gerne|prima|super|freundlich|"
    r"wunderbar"
)
BAD = words(
    r"sorry|afraid|wrong|mistake|fault|problem|trouble|terrible|ridiculous|unacceptable|upset|"
    r"wasted|frustrating|disappoint\w*|down|complaint|leider|leid|ärger\w*|enttäuscht|falsch|"
    r"fehler"
)
TOPICS = {
    "billing": words("invoice|payments?|refund|charged|fee|bank|rechnung"),
    "a delivery": words("parcel|delivery|courier|lieferung|paket|zustellung|express"),
    "an outage": words("outage|down|repair|restart|cabinet|störung"),
    "an appointment": words("installation|appointment|termin"),
    "a new plan": words("plan|upgrade|gigabit|contract|vertrag"),
}
PROMISE = words("I will|I'll|we will|we'll|ich werde|ich schicke|erstatten wir|wir erstatten")
GREETING = words(
    r"(?:hello|good (?:morning|afternoon|evening)|guten (?:morgen|tag|abend)).*"
    r"(?:my name is|this is|mein name ist)"
)
ANYTHING_ELSE = words("anything else|sonst noch etwas")
REPEATED = words("again|already|twice|third time|ten times|still|zweimal|jedes mal|wieder")
CONTENT = words("works for me|sounds good|glad|very helpful|passt mir|wunderbar")
DISCONTENT = words("not solved|disappointing|other providers|keine lösung")
