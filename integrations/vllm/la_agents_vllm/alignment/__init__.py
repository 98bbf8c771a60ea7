"""Linear Alignment as pure functions: tensors in, tensors out; no model, no state, nothing else of this library.

Gao et al., "Linear Alignment: A Closed-form Solution for Aligning Human Preferences without Tuning and Feedback",
ICML 2024, arXiv 2401.11458. At one decoding step, after the same tokens:

    f_0                                 logits of the reference branch: the prompt without principles
    f_i                                 logits of principle branch i: the same prompt with principle i, i = 1..k
    g_i  = f_i - f_0                    direction, the self-contrastive estimate of dQ_i/df        (section 3.3)
    f(s) = f_0 + s * sum_i w_i g_i      the line of policies, pi_s = softmax(f(s) / T)

    s = 0          the model as it is
    s = 1          what prompting alone gives (k = 1, w = 1)
    s = 1 + gamma  Linear Alignment: f_1 + gamma (f_1 - f_0), the closed form; gamma is called `strength`

Eight rooms: `line` the policies, `push` how far each token is moved along the direction, `support` which tokens may be
chosen, `budget` how far the result may depart from the unaligned model, `choice` one token of a policy, `effect` what
became of it, `step` all of them in their order, as engines take them, `kernel` how a GPU takes many operations in few
passes.

Shapes, everywhere: `reference [batch, vocab]`, `branches [batch, k, vocab]`, `weights [batch, k]`; a scale, a budget
or a temperature is a number or `[batch]`. All arithmetic is float32, whatever comes in. A logit of -inf means
"impossible"; 0 * -inf counts as 0, so that the ends of the line are the branches exactly.
"""

from la_agents_vllm.alignment.budget import affordable, within_budget
from la_agents_vllm.alignment.choice import coupled, draw, likeliest, sampled_from
from la_agents_vllm.alignment.effect import contributions, cost
from la_agents_vllm.alignment.kernel import compile_kernels, kernel
from la_agents_vllm.alignment.line import (
    all_are,
    direction,
    distribution,
    divergence,
    line,
    policy,
    probabilities,
    prompted,
    relative_entropy,
)
from la_agents_vllm.alignment.push import conflict, pushed, reach
from la_agents_vllm.alignment.step import Step, align
from la_agents_vllm.alignment.support import nucleus, nucleus_head, plausible, plausible_head, support

__all__ = [
    "Step",
    "affordable",
    "align",
    "all_are",
    "compile_kernels",
    "conflict",
    "contributions",
    "cost",
    "coupled",
    "direction",
    "distribution",
    "divergence",
    "draw",
    "kernel",
    "likeliest",
    "line",
    "nucleus",
    "nucleus_head",
    "plausible",
    "plausible_head",
    "policy",
    "probabilities",
    "prompted",
    "pushed",
    "reach",
    "relative_entropy",
    "sampled_from",
    "support",
    "within_budget",
]
