"""Names of languages, and the words by which a text is known not to be English. Data only."""

from __future__ import annotations

from la_agents.preferences.rules.lexicon import words

__all__ = ["CODE_LANGUAGES", "ELSEWHERE", "FOREIGN", "FOREIGN_IN_NAMES", "LANGUAGES"]

LANGUAGES = words(
    """
    english french german spanish italian portuguese dutch polish swedish danish norwegian finnish greek turkish russian
    ukrainian czech hungarian romanian arabic hebrew hindi bengali urdu chinese mandarin cantonese japanese korean
    vietnamese thai indonesian swahili latin catalan
    """
)

CODE_LANGUAGES = words(
    """
    python rust java javascript typescript go golang c c++ c# f# ruby php swift kotlin scala r julia perl haskell sql
    bash matlab dart lua elixir clojure erlang fortran cobol zig
    """
)

ELSEWHERE = words("a also am an as do he in it me no on so was will of or for at over her by")
"""English words that other languages have, too: by them alone a text is not taken for English."""

FOREIGN = words(
    """
    ich mich kein keine keinen keinem nicht und oder auch bitte niemals immer meine meinen gern gerne sehr für wir sind
    habe nur auf eine einen einer
    suis mes avec aime veux dans très jamais toujours une
    muy una pero gusta gustan quiero siempre nunca
    miei piace piacciono voglio sempre della delle
    não gosto muito meu minha
    ik geen niet een het mijn graag altijd nooit ook
    jag jeg inte ikke och också aldrig alltid aldri mycket meget
    się lubię jestem bardzo minä pidän olen değil seviyorum
    """
)
"""Function words of other languages: a text with one of them is not read. None that is English, such as soy or pour."""

FOREIGN_IN_NAMES = words(
    """
    la le el los las les lo il gli de del des du da do dos das der den dem die van von di un et en y e o con como
    che non mi que sans por para ja ei hat ist og er nie pas mai je
    """
)
"""Those that English sentences have in names ("Los Angeles"): beside them "No ..." does not make a text English."""
