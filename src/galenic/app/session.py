"""The one door to all services: here arguments are checked, permission is asked, audit is written.

Command line, REST, pages and scripts all end in `Session.call`. A call is a job: a short one has
ended when `call` returns, a longer one goes on, and can be watched and cancelled. ``compute``
services run in processes of their own, ``read`` and ``act`` services in threads of this one,
beside the live twins. A session without a site works in memory.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from galenic.app import index
from galenic.app.index import ServiceEntry
from galenic.app.jobs import LIVE, Job, ServiceFailed, Task, Workers, error_facts
from galenic.app.permissions import SITE, Caller, require, require_service, sees_all
from galenic.clock import Clock, SystemClock, seconds
from galenic.errors import GalenicError, NotPermitted, StorageError, UnknownName
from galenic.records.policy import SignatureRule
from galenic.signals import Record
from galenic.twin.arguments import ArgumentError
from galenic.twin.references import FileKind
from galenic.twin.result import Artefact, Result
from galenic.twin.run import Cancelled, Host, Run
from galenic.twin.service import Service

JOB = "job"  # kind of documents, as in galenic.records.jobs
KEPT = 200  # ended jobs kept in memory
SHORT = 1.0  # seconds that a call may take before it is answered with a running job


class SignatureNeeded(NotPermitted):
    """The call needs signatures, which are given with a request."""

    def __init__(self, rule: SignatureRule, service: str) -> None:
        self.rule = rule
        super().__init__(
            f"{service} needs signatures: {', '.join(rule.meanings)}",
            expected=f"a request, signed with {rule.meanings[0]}",
            hint="POST /api/requests, or galenic request",
        )


class Session:
    """Calls services for people and programs.

    Parameters
    ----------
    store : Store, optional
        The site's records; calls are then entered in its ledger and results kept as artefacts.
    runner : Runner, optional
        The live twins.
    workers : int, default 0
        Processes for ``compute`` services. With 0 every service runs where it is called, as on
        the command line.
    models : paths
        Files of models that the operator offers beside the catalogue.
    services : services, optional
        Further services beside the index.
    site : str, optional
        Folder of the site, which the worker processes open for reading.
    rules : rules, optional
        Which calls need signatures; those of the runner's project if left out.
    """

    def __init__(
        self,
        store: Any = None,
        runner: Any = None,
        *,
        workers: int = 0,
        models: Iterable[str] = (),
        services: Iterable[Service] = (),
        site: str | None = None,
        clock: Clock | None = None,
        rules: Iterable[SignatureRule] | None = None,
    ) -> None:
        self.store = store
        self.runner = runner
        self.clock = clock or SystemClock()
        self.models = list(models)
        ruled = runner.project.security.signatures if runner is not None else ()
        self.rules = tuple(ruled if rules is None else rules)
        self._records = store is not None and not store.readonly
        self._own = {service.full_name: service for service in services}
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._artefacts: dict[str, Artefact] = {}
        self._lock = threading.Lock()
        self._workers = Workers(workers, self.models, site) if workers else None
        if self.models:
            from galenic import plugins

            plugins.use_files(self.models)
        self._mark_interrupted()

    # services

    def services(self) -> dict[str, ServiceEntry]:
        """Every service by ``stage.name``."""
        own = {name: ServiceEntry.of(service) for name, service in self._own.items()}
        return index.entries() | own

    def service(self, name: str) -> ServiceEntry:
        """The service called ``stage.name``, or an error with close matches."""
        return index.entry(name, self.services())

    def warm(self) -> None:
        """Start a worker process ahead of the first call."""
        if self._workers is not None:
            self._workers.warm()

    # calls

    def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        who: Caller,
        *,
        wait: float = SHORT,
        report: Callable[[float, str], None] | None = None,
        request: str = "",
    ) -> Job:
        """Call a service; the job has ended if that took less than ``wait`` seconds.

        ``request`` is given by the desk (`galenic.app.signing`) for a call that has been signed.

        Raises
        ------
        UnknownName
            There is no such service.
        ArgumentError
            An argument is wrong; the error names it. Nothing ran.
        NotPermitted
            The role or the twin's level does not allow it. The refusal is in the ledger.
        SignatureNeeded
            A rule of the project wants signatures first.
        """
        entry, plain, rule = self.checked(name, arguments, who)
        if rule is not None and not request:
            raise SignatureNeeded(rule, entry.full_name)
        job = self._accept(entry, plain, who, request)
        if self._workers is None:
            self._perform(entry, plain, who, job, report)
            return job
        thread = threading.Thread(
            target=self._perform, args=(entry, plain, who, job, report), daemon=True
        )
        thread.start()
        if not job.wait(wait):
            self._keep(job)
        return job

    def checked(
        self, name: str, arguments: Mapping[str, Any], who: Caller
    ) -> tuple[ServiceEntry, dict[str, Any], SignatureRule | None]:
        """A service, its arguments in plain form, and the rule of signatures for such a call.

        Raises what speaks against the call, as ``call`` does.
        """
        entry = self.service(name)
        try:
            require(who, entry.role, entry.full_name, (), entry.effect)
            plain = entry.check(arguments)
            require_service(who, entry, plain)
            self._refuse_paths(entry, plain, who)
            self._require_level(entry, plain)
        except NotPermitted as error:
            self._enter(entry.full_name, who.name, {"outcome": "refused", "why": str(error)}, who)
            raise
        return entry, plain, self.rule(entry, plain)

    def rule(self, entry: ServiceEntry, plain: Mapping[str, Any]) -> SignatureRule | None:
        """The first rule of the project that wants signatures for a call."""
        fitting = (rule for rule in self.rules if rule.fits(entry.full_name, plain))
        return next(fitting, None)

    def require(
        self,
        who: Caller,
        role: str,
        what: str,
        twins: Sequence[str | None] = SITE,
        effect: str = "read",
    ) -> None:
        """Refuse what a caller may not (`galenic.app.permissions`); the refusal is recorded."""
        try:
            require(who, role, what, twins, effect)
        except NotPermitted as error:
            self._enter(what, who.name, {"outcome": "refused", "why": str(error)}, who)
            raise

    def _refuse_paths(self, entry: ServiceEntry, plain: Mapping[str, Any], who: Caller) -> None:
        for argument in entry.arguments:
            given = plain[argument.name]
            if isinstance(argument.kind, FileKind) and given and "path" in given and not who.local:
                raise NotPermitted(
                    f"argument {argument.name!r} names a path on the server",
                    expected="the file's name and content",
                )

    def _require_level(self, entry: ServiceEntry, plain: Mapping[str, Any]) -> None:
        if entry.needs is None or self.runner is None:
            return
        from galenic.twin.level import Level

        for name in entry.twins:
            shown = self.runner.twin(plain[name]).levels.shown
            if shown < Level.of(entry.needs):
                raise NotPermitted(
                    f"twin {plain[name]!r} is at level {shown.word}",
                    expected=f"at least {entry.needs} for {entry.full_name}",
                    hint="a person may raise the level, with a reason",
                )

    def _accept(
        self, entry: ServiceEntry, plain: Mapping[str, Any], who: Caller, request: str
    ) -> Job:
        record = {a.name: a.record(plain[a.name]) for a in entry.arguments}
        now = self.clock.now()
        job = Job(uuid.uuid4().hex, entry.full_name, who.name, record, now, request=request)
        with self._lock:
            self._jobs[job.id] = job
            ended = [one.id for one in self._jobs.values() if not one.live]
            for old in ended[: max(0, len(ended) - KEPT)]:
                del self._jobs[old]
        if entry.effect == "act":
            self._enter(entry.full_name, who.name, self._detail(job), who)
        return job

    def _perform(
        self,
        entry: ServiceEntry,
        plain: Mapping[str, Any],
        who: Caller,
        job: Job,
        report: Callable[[float, str], None] | None,
    ) -> None:
        def progress(fraction: float, text: str) -> None:
            job.progress, job.message = fraction, text
            if report is not None:
                report(fraction, text)

        job.state, job.started = "running", self.clock.now()
        try:
            job.result = self._result(entry, plain, who, job, progress)
            state = "done"
        except Cancelled as error:
            job.error, state = error, "cancelled"
        except GalenicError as error:
            job.error, state = error, "failed"
        except Exception as error:
            job.error, state = ServiceFailed.of(entry.full_name, error), "failed"
        except BaseException:  # Ctrl-C where it runs inline
            job.error, state = Cancelled(f"{entry.full_name} was interrupted"), "cancelled"
            self._finish(job, state, who)
            raise
        self._finish(job, state, who)

    def _result(
        self,
        entry: ServiceEntry,
        plain: Mapping[str, Any],
        who: Caller,
        job: Job,
        progress: Callable[[float, str], None],
    ) -> Result:
        from galenic.identity import content_hash

        seed = int(content_hash([entry.full_name, job.arguments])[:12], 16)
        if self._workers is not None and entry.effect == "compute":
            task = Task(entry.module, entry.name, plain, who.name, seed, who.local)
            return self._workers.run(task, job, progress)
        service = self._own.get(entry.full_name) or entry.load()
        host = Host(self.store, self.runner, local=who.local)
        run = Run(who.name, seed, host=host, report=progress, stopped=job.stop.is_set)
        return service.perform(plain, run)

    # jobs

    def jobs(self, who: Caller | None = None) -> list[Job]:
        """The jobs of this process that ``who`` may see, newest first."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if _shows(who, job.who)]
        return sorted(jobs, key=lambda job: job.created, reverse=True)

    def finished(self, service: str, who: Caller, most: int) -> list[dict[str, Any]]:
        """Jobs of a service that ended well, with their results, newest first; also older ones."""
        kept = self.store.list(JOB) if self.store is not None else {}
        own = {job.id: job.record() for job in self.jobs(who)}
        found = [
            record
            for record in (kept | own).values()
            if record["service"] == service
            and record["state"] == "done"
            and _shows(who, record["who"])
        ]
        found.sort(key=lambda record: int(record["created"]), reverse=True)
        return [self.job(record["id"], who) for record in found[:most]]

    def job(self, id: str, who: Caller | None = None) -> dict[str, Any]:
        """What is known about a job, with its result; also of jobs before a restart.

        Raises
        ------
        UnknownName
            There is no such job that ``who`` may see.
        """
        with self._lock:
            job = self._jobs.get(id)
        if job is not None and _shows(who, job.who):
            return job.to_dict()
        record = self.store.get(JOB, id) if self.store is not None else None
        if record is None or not _shows(who, record["who"]):
            raise UnknownName.among("job", id, [])
        shown = {**record, "result_hash": record["result"]}
        if shown.pop("result"):
            shown["result"] = json.loads(self.store.artefact(record["result"]).data)
        return shown

    def cancel(self, id: str, who: Caller) -> dict[str, Any]:
        """Stop a job: its process is terminated. The caller, or an engineer, may."""
        with self._lock:
            job = self._jobs.get(id)
        if job is None:
            return self.job(id, who)
        if job.who != who.name:
            require(who, "engineer", f"cancel of another person's job {job.service}", effect="act")
        job.stop.set()
        kill = job.kill
        if kill is not None:
            kill()
        job.wait(5)
        return job.to_dict()

    def artefact(self, hash: str, who: Caller | None = None) -> Artefact:
        """An artefact that a job of this session or site has made, and that ``who`` may see."""
        with self._lock:
            made = self._artefacts.get(hash)
        if made is not None and (self.store is None or _shows(who, "")):
            return made
        if self.store is None:
            raise UnknownName.among("artefact", hash, self._artefacts)
        kept = self.store.artefact(hash)
        if not _shows(who, str(kept.provenance.get("who", ""))):
            raise UnknownName.among("artefact", hash, [])
        return Artefact(str(kept.provenance.get("name", hash)), kept.data, kept.media_type)

    def close(self) -> None:
        """End the worker processes; jobs that run are cancelled."""
        live = [job for job in self.jobs() if job.live]
        for job in live:
            job.stop.set()
        if self._workers is not None:
            self._workers.close()
        for job in live:
            job.wait(5)

    # records

    def _finish(self, job: Job, state: str, who: Caller) -> None:
        job.state, job.finished = state, self.clock.now()
        try:
            self._record_end(job, who)
        except StorageError as error:  # what cannot be recorded has not been done
            job.state, job.error, job.result = "failed", error, None
        finally:
            job.ended.set()

    def _record_end(self, job: Job, who: Caller) -> None:
        made = list(job.result.artefacts) if job.result is not None else []
        with self._lock:
            self._artefacts |= {one.hash: one for one in made}
        if not self._records:
            return
        now = job.finished or job.created
        provenance = {"service": job.service, "arguments": job.arguments, "who": job.who}
        detail: dict[str, Any] = {"outcome": job.state, "job": job.id, "via": who.via}
        if who.token:
            detail["token"] = who.token
        detail["arguments"] = job.arguments
        if job.request:
            detail["request"] = job.request
        detail["elapsed"] = seconds(now - job.created)
        if job.error is not None:
            detail["error"] = error_facts(job.error)
        with self.store.transaction() as tx:
            for one in made:
                tx.artefact(one.data, one.media, provenance | {"name": one.name}, now)
            if job.result is not None:
                data = json.dumps(job.result.to_dict(), allow_nan=False).encode()
                job.result_hash = tx.artefact(data, "application/json", provenance, now)
                detail["result"] = job.result_hash
            # what was computed keeps its address; other calls only where they were noted before
            lasts = job.result is not None and self.service(job.service).effect == "compute"
            if lasts or tx.get(JOB, job.id) is not None:
                tx.put(JOB, job.id, job.record())
            tx.ledger(Record("service", now, job.service, detail, who.name))

    def _keep(self, job: Job) -> None:
        """Note a job that goes on, so that a restart can say it was interrupted."""
        if not self._records:
            return
        with self.store.transaction() as tx:
            if job.state in LIVE:
                tx.put(JOB, job.id, job.record())
                now = self.clock.now()
                tx.ledger(Record("service", now, job.service, self._detail(job), job.who))

    def _detail(self, job: Job) -> dict[str, Any]:
        detail = {"outcome": "accepted", "job": job.id, "arguments": job.arguments}
        return detail | ({"request": job.request} if job.request else {})

    def _enter(self, subject: str, name: str, detail: Mapping[str, Any], who: Caller) -> None:
        if not self._records:
            return
        with self.store.transaction() as tx:
            record = {**detail, "via": who.via, **({"token": who.token} if who.token else {})}
            tx.ledger(Record("service", self.clock.now(), subject, record, name))

    def _mark_interrupted(self) -> None:
        """Jobs that ran when the site last stopped have no result: say so."""
        if not self._records:
            return
        from galenic.records.jobs import Jobs

        left = Jobs(self.store, self.clock).interrupt_open()
        if left:
            with self.store.transaction() as tx:
                for job in left:
                    detail = {"outcome": "interrupted", "job": job.id}
                    tx.ledger(Record("service", job.finished, job.service, detail, job.who))


def _shows(who: Caller | None, owner: str) -> bool:
    """Whether somebody may see what belongs to ``owner``: it is theirs, or they see the site."""
    return who is None or who.name == owner or sees_all(who)


def as_arguments(given: Any) -> Mapping[str, Any]:
    """The arguments of a call as an object, or an ArgumentError."""
    if not isinstance(given, Mapping):
        raise ArgumentError(
            "the arguments are not an object", expected='a JSON object {"name": value}'
        )
    return given
