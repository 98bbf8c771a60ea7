"""Gang scheduling: all rows of an aligned request prefill, decode, are preempted, resumed and finished together.

The client sends one request; the others are made here, inside the engine core. Every row stops one token before its
prompt's end until all are there, and from then on each step schedules all of them or none. Where vLLM parts them all
the same, what was computed for some alone is dropped and all of them are preempted.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from vllm.logger import init_logger
from vllm.utils.math_utils import cdiv
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request, RequestStatus

from la_agents_vllm import __version__
from la_agents_vllm.arguments import MAX_BRANCHES, Arguments
from la_agents_vllm.compatibility import check_configuration, check_hooks
from la_agents_vllm.gangs import Gang, rows_of
from la_agents_vllm.records import num_facts

__all__ = ["AsyncGangScheduler", "GangScheduler"]

logger = init_logger("vllm.la_agents")

PROTOCOL = 1
"""Of what clients and this package say to each other."""
_PATIENCE = 8
"""Steps without anything to compute, after which rows give way."""

if TYPE_CHECKING:  # beside it in each class that is made of this
    from vllm.v1.core.sched.scheduler import Scheduler as _Base
else:
    _Base = object


class _GangScheduling(_Base):
    """Beside vLLM's scheduler, for either of its modes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        check_hooks()
        super().__init__(*args, **kwargs)
        check_configuration(self.vllm_config, self)
        self._gangs: dict[str, Gang] = {}  # by the id of any of its rows
        self._forming: set[Gang] = set()  # not decoding yet, or not any more
        self._prefix = f"la-{uuid.uuid4().hex}-"  # of the ids of rows that no client knows
        self._ended: dict[str, Gang] = {}  # in this step, by the client's row
        self._apart: set[Gang] = set()  # of which some rows ended in this step, and others did not
        self._num_idle = 0  # steps in a row that had nothing to compute
        # While a step is made up:
        self._scheduled: set[Request] | None = None  # rows that were given tokens
        self._cursor: Request | None = None  # the row that is looked at
        self._late: list[tuple[Request, bool]] = []  # rows to preempt at its end

    # -- coming ----------------------------------------------------------------------------------------------------

    def add_request(self, request: Request) -> None:
        """A request, and the rows of its branches."""
        params = request.sampling_params
        if params is None or request.request_id in self.requests:
            super().add_request(request)
            return
        extra = params.extra_args or {}
        try:
            given = Arguments.of(extra)
            if given is not None:
                self._check(request, given)
        except ValueError as error:
            self._reject(request, str(error))
            return
        if given is None:
            super().add_request(request)
            return
        longest = max(len(prompt) for prompt in (request.prompt_token_ids or (), *given.branches))
        most = min(request.max_tokens, self.max_model_len - longest)
        gang = Gang(rows_of(request, given, most, self._prefix), given)
        self._forming.add(gang)
        for row in gang.rows:
            self._gangs[row.request_id] = gang
            if row is not request and row.use_structured_output:
                self.structured_output_manager.grammar_init(row)
            super().add_request(row)

    def _check(self, request: Request, given: Arguments) -> None:
        vocab_size = self.vllm_config.model_config.get_vocab_size()
        prompts = [request.prompt_token_ids or (), *given.branches]
        if request.prompt_embeds is not None or request.mm_features or request.resumable:
            msg = "Expected an aligned request of token ids alone."
            raise ValueError(msg)
        for prompt in prompts:
            if not 2 <= len(prompt) < self.max_model_len:
                msg = f"Expected prompts of 2 to {self.max_model_len - 1} tokens, got {len(prompt)}."
                raise ValueError(msg)
            if max(prompt) >= vocab_size:
                msg = f"Expected token ids below {vocab_size}."
                raise ValueError(msg)
        if len(prompts) > self.max_num_running_reqs:
            msg = f"Expected at most --max-num-seqs {self.max_num_running_reqs} rows, got {len(prompts)}."
            raise ValueError(msg)
        longest = max(map(len, prompts))
        room = min(request.max_tokens, self.max_model_len - longest)
        blocks = sum(cdiv(len(prompt) + room, self.block_size) for prompt in prompts)
        if blocks >= self.kv_cache_manager.block_pool.num_gpu_blocks:
            msg = f"Expected rows that fit the KV cache together, got {blocks} blocks; lower max_tokens."
            raise ValueError(msg)
        if given.record and num_facts(len(given.branches), given.record) > self._num_facts:
            msg = (
                "Expected no la_record: start vLLM with --logprobs-mode processed_logits and a --max-logprobs above "
                f"{num_facts(len(given.branches), given.record)}."
            )
            raise ValueError(msg)

    @property
    def _num_facts(self) -> int:
        """Facts that a token's record may have; 0 where vLLM was not started so that there are any."""
        model = self.vllm_config.model_config
        if str(getattr(model.logprobs_mode, "value", model.logprobs_mode)) != "processed_logits":
            return 0
        return int(model.get_vocab_size() if model.max_logprobs == -1 else model.max_logprobs) - 1

    def _reject(self, request: Request, why: str) -> None:
        """End a request with an error; an exception here would end the engine.

        vLLM knows one way to do so in its next step: as it does where a grammar does not compile.
        """
        logger.warning("an aligned request was refused: %s", why)
        request.status = RequestStatus.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR
        request.structured_output_request = None
        super().add_request(request)
        self.grammar_compile_error_reqs.add(request.request_id)

    # -- a step ----------------------------------------------------------------------------------------------------

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """What to compute next."""
        for gang in [gang for gang in self._forming if gang.is_ready]:
            gang.together = True
            self._forming.discard(gang)
        if self._num_idle > _PATIENCE:
            self._give_way()
        self._scheduled, self._cursor = set(), None
        try:
            output = super().schedule(*args, **kwargs)
        finally:
            self._scheduled = None
        self._num_idle = 0 if output.total_num_scheduled_tokens else self._num_idle + 1
        return output

    def _give_way(self) -> None:
        """Where rows that wait for others hold the room that those need, the request that matters least goes out."""
        gangs = [gang for row in self.running if (gang := self._gangs.get(row.request_id)) and not gang.together]
        if gangs:
            self._part(max(gangs, key=lambda gang: (gang.leader.priority, gang.leader.arrival_time)))

    def _get_local_prefix_cache_hit(self, request: Request) -> Any:
        blocks, num_tokens, *rest = super()._get_local_prefix_cache_hit(request)
        if num_tokens == request.num_tokens - 1 and request.request_id in self._gangs:
            # It would have to be sampled at once, and waits for the others a token before its last.
            num_tokens = (num_tokens - 1) // self.block_size * self.block_size
            blocks = self.kv_cache_manager.truncate_computed_blocks(blocks, num_tokens)
        return blocks, num_tokens, *rest

    def _reserve_prefill_lookahead(self, request: Request, num_computed_tokens: int, num_new_tokens: int) -> int:
        n = super()._reserve_prefill_lookahead(request, num_computed_tokens, num_new_tokens)
        self._cursor = request
        gang = self._gangs.get(request.request_id)
        if gang is None:
            return int(n)
        if not gang.together:
            n = max(0, min(n, request.num_tokens - 1 - num_computed_tokens))
        elif max(row.num_computed_tokens for row in gang.rows) >= self.max_model_len - 1:
            return 0  # the longest is at the context's end; steps that the others ran ahead would be for nothing
        if n > 0 and self._scheduled is not None:
            self._scheduled.add(request)
        return int(n)

    def get_grammar_bitmask(self, scheduler_output: Any) -> Any:
        """What grammars allow; the branches of an answer that is not aligned any more are allowed nothing."""
        output = super().get_grammar_bitmask(scheduler_output)
        if output is None:
            return None
        for i, request_id in enumerate(output.structured_output_request_ids):
            gang = self._gangs.get(request_id)
            if gang is not None and request_id != gang.leader.request_id and self._is_past_trigger(gang):
                output.grammar_bitmask[i] = 0
        return output

    def _is_past_trigger(self, gang: Gang) -> bool:
        trigger = gang.given.trigger
        if trigger is not None and not gang.is_past_trigger:
            most = len(trigger.encode()) + 1  # tokens that it can be spread over
            latest = list(gang.leader.output_token_ids)[-most:]
            text = self.structured_output_manager.tokenizer.decode(latest, skip_special_tokens=False)
            gang.is_past_trigger = trigger in str(text)
        return bool(gang.is_past_trigger)

    # -- preemption: all rows or none ------------------------------------------------------------------------------

    def _preempt_request(
        self, request: Request, timestamp: float, drop_stale_output: bool = False, **kwargs: Any
    ) -> None:
        gang = self._gangs.get(request.request_id)
        if gang is None:
            super()._preempt_request(request, timestamp, drop_stale_output, **kwargs)
            return
        others = [row for row in gang.rows if row is not request and row.status == RequestStatus.RUNNING]
        # What a row computes in this step without the others is dropped; then the others have to drop as much.
        # So with what is dropped of one of them already.
        drop = (
            drop_stale_output
            or any(row in (self._scheduled or ()) for row in others)
            or any(row.drop_stale_output and row.num_stale_output_tokens for row in gang.rows)
        )
        self._scatter(gang)
        super()._preempt_request(request, timestamp, drop, **kwargs)
        for row in others:
            if self._scheduled is None or self._is_after_cursor(row):
                self.running.remove(row)
                super()._preempt_request(row, timestamp, drop, **kwargs)
            else:  # vLLM's loop is past it: without it, the loop would pass over another
                self._late.append((row, drop))

    def _is_after_cursor(self, row: Request) -> bool:
        cursor = self._cursor
        if cursor is None or cursor.status != RequestStatus.RUNNING or cursor not in self.running:
            return False
        return bool(self.running.index(row) > self.running.index(cursor))

    def _part(self, gang: Gang) -> None:
        """Take a gang out, and drop what its rows have under way."""
        self._scatter(gang)
        for row in reversed(gang.rows):
            if row.status == RequestStatus.RUNNING:
                self._pull(row, drop=True)

    def _pull(self, row: Request, drop: bool) -> None:
        """Preempt a row outside of vLLM's loop over the running ones."""
        self.running.remove(row)
        super()._preempt_request(row, time.monotonic(), drop_stale_output=drop)
        # It may be resumed in the very next step, and the workers must not take it for one that just goes on.
        self.prev_step_scheduled_req_ids.discard(row.request_id)

    def _scatter(self, gang: Gang) -> None:
        gang.together = False
        self._forming.add(gang)

    def _update_after_schedule(self, scheduler_output: Any) -> None:
        super()._update_after_schedule(scheduler_output)
        late, self._late, self._scheduled = self._late, [], None
        for row, drop in late:
            if row.status == RequestStatus.RUNNING:
                self._pull(row, drop)
        # Whatever else may part rows that decode: what was computed for some of them alone is dropped.
        given = scheduler_output.num_scheduled_tokens
        scheduled = {id(gang): gang for name in given if (gang := self._gangs.get(name)) is not None}
        for gang in scheduled.values():
            if gang.together and not all(row.request_id in given for row in gang.rows):
                self._part(gang)

    # -- going: all rows or none -----------------------------------------------------------------------------------

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        gang = self._gangs.get(request.request_id)
        if gang is not None and all(row.is_finished() for row in gang.rows):
            self._ended[gang.leader.request_id] = gang
            self._forget(gang)
        elif gang is not None:
            self._apart.add(gang)
        return super()._free_request(request, *args, **kwargs)

    def _forget(self, gang: Gang) -> None:
        self._forming.discard(gang)
        self._apart.discard(gang)
        for row in gang.rows:
            self._gangs.pop(row.request_id, None)

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """What the model said, to the clients."""
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        for each in outputs.values():
            for output in each.outputs:
                self._complete(output)
            each.outputs = [output for output in each.outputs if not output.request_id.startswith(self._prefix)]
        self._ended.clear()
        for gang in list(self._apart):
            alive = [row.request_id for row in gang.rows if not row.is_finished()]
            if gang.leader.request_id in alive:  # one of its branches failed, and the client has to be told
                alive.remove(gang.leader.request_id)
                self.grammar_compile_error_reqs.add(gang.leader.request_id)
            self.finish_requests(alive, RequestStatus.FINISHED_ABORTED)
        return outputs

    def _complete(self, output: Any) -> None:
        """Add to an output what is asked for by no field of vLLM's."""
        name, is_last = output.request_id, output.finish_reason is not None
        gang = self._gangs.get(name) or self._ended.get(name)
        if gang is not None and output.prefill_stats is not None:
            gang.num_cached_tokens += output.prefill_stats.num_cached_tokens
        if is_last and gang is not None:
            about: dict[str, Any] = {"cached": gang.num_cached_tokens}
            output.kv_transfer_params = {"la_agents": about | (self._about if gang.given.probe else {})}
            if gang.given.record:  # streams carry no transfer parameters
                output.stop_reason = json.dumps({"la_agents": about})

    @property
    def _about(self) -> dict[str, Any]:
        """What a client has to know of this server."""
        return {
            "version": __version__,
            "vocab_size": self.vllm_config.model_config.get_vocab_size(),
            "max_branches": min(MAX_BRANCHES, self.max_num_running_reqs - 1),
            "protocol": PROTOCOL,
            "records": self._num_facts >= num_facts(1, 1),
            "grammars": self.vllm_config.structured_outputs_config.backend == "guidance",
            "num_facts": self._num_facts,
        }


class GangScheduler(_GangScheduling, Scheduler):
    """For an engine that waits for each step's tokens."""


class AsyncGangScheduler(_GangScheduling, AsyncScheduler):
    """For an engine that schedules a step ahead."""
