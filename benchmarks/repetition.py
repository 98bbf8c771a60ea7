"""What the loop guard cuts, on the bundled model: `python -m benchmarks.repetition` (half an hour on two cores).

Prompts that ask for text that repeats itself are answered without the guard. It is then applied to each answer, and the
tokens after its cut tell whether it was right: a loop goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from la_agents import ChatLinearAlignment
from la_agents.engine.repetition import is_loop
from la_agents.requests import TokenRecord

__all__ = ["cut_of", "main"]

MAX_TOKENS = 640
TEMPERATURES = (0.0, 0.7)
PROMPTS = {
    "tables": """Make a Markdown table of 25 fruits with colour and taste.
        Make a multiplication table from 1 to 10 in Markdown.
        Draw a calendar of a month as a Markdown table.
        Make a table of weekdays and meals for four weeks.
        Make a CSV with 30 rows: id, name, city.
        Draw a chess board with ASCII characters.
        Make a table with 20 rows in which all cells are zero.
        Make a truth table for three variables.""",
    "code": """Write a Python function with ten if-elif branches that maps digits to words.
        Write an HTML page with a table of 20 rows.
        Write a C array with 100 zeros.
        Write unit tests for an add function, twenty of them.
        Write a JSON list of 20 users with the same fields.
        Write a Python program that prints a pattern of stars.
        Write a SQL script that inserts 20 rows.
        Write a YAML file with 15 services.""",
    "JSON": """Write a JSON object with 40 keys from a to z and aa to an, all values 0.
        Write a JSON array of 30 points with x and y.
        Write a JSON object with 12 months and their days.
        Write a JSON array of 100 random integers.
        Write package.json with 20 dependencies.
        Write a GeoJSON polygon with 30 coordinates.
        Write the JSON of a chess board: 8 lists of 8 strings.
        Write 15 JSON lines with time, level and message.""",
    "numbers": """Write pi with 300 digits.
        Write the first 100 Fibonacci numbers.
        List the powers of 2 up to 2 to the 60.
        Write one million as a sum of ones and tens.
        Write 1/7 as a decimal with 200 digits.
        Write 120 binary digits, all zeros and ones alternating.
        List the first 100 prime numbers.
        Count from 1000 to 1200 by 2.""",
    "lists": """List 60 animals, one per line.
        List all months, three times over, one per line.
        Write a shopping list of 40 items.
        List the numbers from 1 to 150, separated by commas.
        List 50 English verbs in a numbered list.
        Name 30 countries and their capitals as bullets.
        Count down from 100 to 1.
        Write the alphabet, one letter per line, twice.""",
    "poems": """Write a long poem about the sea with a refrain after each verse.
        Write a song with a chorus that repeats four times.
        Write a nursery rhyme in which each verse repeats the last one and adds a line.
        Write a lullaby with many repetitions.
        Write ten haikus about rain.
        Write the lyrics of a work song with call and response.
        Write a villanelle about winter.
        Write a poem in which every line begins with 'I remember'.""",
    "other": """Repeat the word 'hello' as often as you can.
        Say ha forever.
        Keep writing the same sentence again and again.
        What is the meaning of life? Explain in as much detail as you can.
        Tell me everything about dust.
        Explain why the sky is blue, then explain it again, and again.
        Write a very long story without an end.
        Describe nothing in great detail.""",
}


def main() -> None:
    """Print how many answers of each kind are cut, and how many of the cut ones would have gone on in their loop."""
    llm = ChatLinearAlignment(max_tokens=MAX_TOKENS, stop_repetition=False)
    tokenizer = llm.engine.tokenizer
    print("temperature kind      answers  cut  loop goes on")
    for temperature in TEMPERATURES:
        for kind, lines in PROMPTS.items():
            counts: Counter[str] = Counter()
            questions = [line.strip() for line in lines.splitlines()]
            for question, answer in zip(questions, llm.batch(questions, temperature=temperature, seed=1), strict=True):
                token_ids = tokenizer.encode(answer.text, add_special_tokens=False)
                if (cut := cut_of(token_ids, tokenizer.decode)) is None:
                    continue
                place, more = cut
                counts["cut"] += 1
                goes_on = place + more == len(token_ids)
                counts["goes on"] += goes_on
                if not goes_on:  # to be read
                    print(f"# {question} {tokenizer.decode(token_ids[place - 40 : place + more + 40])!r}")
            print(
                f"{temperature:<11} {kind:<9} {len(questions):>7} {counts['cut']:>4} {counts['goes on']:>13}",
                flush=True,
            )


def cut_of(token_ids: Sequence[int], decode: Callable[[list[int]], object]) -> tuple[int, int] | None:
    """After how many tokens the guard ends this answer, and for how many more the run goes on; None if it does not."""
    records = [TokenRecord(token_id, 0.0, 0.0, 0.0) for token_id in token_ids]
    place = next((n for n in range(1, len(records) + 1) if is_loop(records[:n], decode)), None)
    if place is None:
        return None
    period = next(p for p in range(1, place) if token_ids[place - p : place] == token_ids[place - 2 * p : place - p])
    more = 0
    while place + more < len(token_ids) and token_ids[place + more] == token_ids[place + more - period]:
        more += 1
    return place, more


if __name__ == "__main__":
    main()
