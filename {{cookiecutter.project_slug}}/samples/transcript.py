"""Functions for call transcripts, used by the sample job in jobs.py. Delete it with that job."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """What one speaker says before the next turn starts."""

    start: int  # seconds since the start of the call
    seconds: int  # until the next turn starts
    speaker: str
    text: str

    @property
    def is_interrupted(self) -> bool:
        """Whether the next speaker interrupts: the text ends with two dashes."""
        return self.text.endswith("--")

    @property
    def talk_time(self) -> int:
        """Seconds of speech: the whole turn, unless slow speech takes less."""
        return max(1, min(self.seconds, slow_speech(self.text)))

    @property
    def silence(self) -> int:
        """Seconds from the end of the speech to the next turn."""
        return max(0, self.seconds - self.talk_time)


LINE = re.compile(r"\[(\d\d):([0-5]\d):([0-5]\d)\] ([^:]+): (\S.*)")


def parse(text: str) -> tuple[list[Turn], list[str]]:
    """Return the turns by time, and the lines that are not turns."""
    found: list[tuple[int, str, str]] = []
    other_lines: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if match := LINE.fullmatch(line):
            hours, minutes, seconds, speaker, said = match.groups()
            found.append((int(hours) * 3600 + int(minutes) * 60 + int(seconds), speaker, said))
        else:
            other_lines.append(line)
    found.sort(key=lambda turn: turn[0])
    ends = [start for start, _, _ in found[1:]]  # a turn ends when the next starts
    ends += [start + slow_speech(said) for start, _, said in found[-1:]]
    turns = [
        Turn(start, end - start, speaker, said)
        for (start, speaker, said), end in zip(found, ends, strict=True)
    ]
    return turns, other_lines


def word_count(text: str) -> int:
    """Count the words; "I'll" is one, and a dash is none."""
    return len(re.findall(r"\w[\w'-]*", text))


def slow_speech(text: str) -> int:
    """Return how many seconds slow speech takes, at two words per second."""
    return word_count(text) // 2 + 1


def sum_by_speaker(turns: Iterable[Turn], measure: Callable[[Turn], int]) -> Counter[str]:
    """Add up a measure of the turns for each speaker."""
    sums: Counter[str] = Counter()
    for turn in turns:
        sums[turn.speaker] += measure(turn)
    return sums


def sentiment(turns: Iterable[Turn], speaker: str) -> float | None:
    """Compare a speaker's good and bad words: -1 to 1, or None if the speaker says nothing."""
    own = [turn for turn in turns if turn.speaker == speaker]
    good, bad = count(GOOD, own), count(BAD, own)
    # With the + 1, a single word does not make an extreme score.
    return round((good - bad) / (good + bad + 1), 2) if own else None


def long_words(text: str) -> list[str]:
    """Return the words of six letters or more, in lower case."""
    return re.findall(r"[^\W\d_]{6,}", text.lower())


def keywords(
    turns: Iterable[Turn], used_in: Counter[str], transcripts: int, limit: int = 6
) -> list[str]:
    """Choose words that are frequent here and rare in the other transcripts (TF-IDF)."""
    uses = Counter(word for turn in turns for word in long_words(turn.text))
    weight = {word: n * math.log((transcripts + 1) / used_in[word]) for word, n in uses.items()}
    return sorted(weight, key=lambda word: (-weight[word], word))[:limit]


def topic(turns: list[Turn]) -> str:
    """Return the topic whose words are used most."""
    uses = {name: count(words, turns) for name, words in TOPICS.items()}
    return max(uses, key=lambda name: uses[name]) if any(uses.values()) else "something else"


def promises(turns: list[Turn]) -> list[str]:
    """Return the sentences that promise something."""
    sentences = [line for turn in turns for line in re.split(r"(?<=[.!?])\s+", turn.text)]
    return [line for line in sentences if PROMISE.search(line)]


def greets(turns: list[Turn]) -> bool:
    """Return whether the first turn greets and gives a name."""
    return count(GREETING, turns[:1]) > 0


def offers_more(turns: list[Turn]) -> bool:
    """Return whether the last turns ask if there is anything else."""
    return count(ANYTHING_ELSE, turns[-3:]) > 0


def effort(turns: list[Turn]) -> int:
    """Rate from 1 to 5 how often customers complain that they repeat themselves."""
    return min(1 + count(REPEATED, turns), 5)


def resolved(turns: list[Turn]) -> bool:
    """Return whether customers sound content at the end."""
    return count(CONTENT, turns[-4:]) > count(DISCONTENT, turns[-4:])


def count(pattern: re.Pattern[str], turns: Iterable[Turn]) -> int:
    """Count how often a pattern occurs in the turns."""
    return sum(len(pattern.findall(turn.text)) for turn in turns)


def words(alternatives: str) -> re.Pattern[str]:
    """Return a pattern for whole words or phrases, separated by `|`."""
    return re.compile(rf"\b(?:{alternatives})\b", re.IGNORECASE)


# A toy lexicon for the samples, in English and German. It knows no grammar: "not happy" is good.
# Real work would use a trained model.
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
