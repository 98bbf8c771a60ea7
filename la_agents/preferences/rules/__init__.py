"""How two short English texts relate, by word lists and grammar, without a language model: pure functions and data.

`comparison.relate` compares two `statements`; what a statement is made of is read by a module each, over the word lists
of `lexicon`, `thesaurus`, `verbs` and `languages`. Nothing here knows what a preference or a store is.
"""
