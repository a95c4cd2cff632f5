import { repeatedly } from '../clock.ts'
import type { CancelTimer, Clock } from '../clock.ts'
import { WorkerMemoryError } from '../errors.ts'
import type { Governor } from '../memory/governor.ts'
import type { MemorySource } from '../memory/source.ts'
import { formatSize } from '../units.ts'
import type { Worker } from '../worker/worker.ts'
import type { PoolEmitter } from '../events.ts'
import type { Gate } from '../admission/gate.ts'
import type { Registry } from './registry.ts'
import type { Residents } from './residents.ts'
import type { Spares } from './spares.ts'
import { mayLeave } from './resident.ts'

/** Freed memory shows a moment after the signal; no other process is ended before, in milliseconds. */
const RELIEF_MS = 300

export interface MemoryWatchContext {
  clock: Clock
  governor: Governor
  source: MemorySource
  registry: Registry
  residents: Residents<Worker>
  gate: Gate
  emitter: PoolEmitter
  /** Under pressure none are kept. */
  spares: Spares
}

/** Looks at memory several times a second and does what is needed: idle workers leave first, and what outgrew its limit is ended. */
export class MemoryWatch {
  readonly #context: MemoryWatchContext
  readonly stop: CancelTimer
  #relievedAt = -Infinity

  constructor(context: MemoryWatchContext) {
    this.#context = context
    const { clock, governor } = context
    this.stop = repeatedly(
      clock,
      () => governor.sampleInMs,
      () => this.#sample(),
    )
  }

  #sample(): void {
    const { governor, gate, emitter, spares } = this.#context
    const before = governor.pressure
    if (governor.sample()) {
      emitter.tell('memory.pressure', { level: governor.pressure, from: before, memory: governor.stats() })
      spares.tend()
    }
    for (const worker of this.#context.registry) this.#checkLimit(worker)
    if (governor.shortage !== 'none') this.#relieve()
    gate.reconsider()
  }

  #checkLimit(worker: Worker): void {
    const limitBytes = worker.memoryLimitBytes
    if (worker.memoryBytes === undefined || worker.memoryBytes <= limitBytes) return
    if (worker.state === 'idle' || worker.state === 'frozen') {
      if (mayLeave(worker, this.#context.clock.now())) void worker.close('memory')
      return
    }
    if (worker.state !== 'busy' && worker.state !== 'starting') return
    const { pid } = worker.process
    // Cheap figures count twice what a process shares with a child that it has just made.
    const usedBytes = pid === undefined ? undefined : this.#context.source.measureExactly({ id: worker.id, pid })
    if (usedBytes === undefined || usedBytes <= limitBytes) return
    const used = `the agent process and what it started used ${formatSize(usedBytes)}`
    const why = `more than the ${formatSize(limitBytes)} of limits.workerMemory`
    void worker.end(new WorkerMemoryError('worker', usedBytes, limitBytes, `${used}, ${why}, and were ended; ${AFTER}`))
  }

  /** One idle worker at a time; all of them when it is critical, and then the largest excess. */
  #relieve(): void {
    const { governor, registry, residents, clock } = this.#context
    const now = clock.now()
    const critical = governor.shortage === 'critical'
    // Paging out helps within seconds; when it is critical, there are none.
    if (!critical && residents.freezeOne({ forRoom: true })) return
    for (let next = residents.evictionCandidate(); next !== undefined;) {
      void next.close('pressure')
      this.#relievedAt = now
      next = critical ? residents.evictionCandidate() : undefined
    }
    if (!critical || now - this.#relievedAt < RELIEF_MS) return
    this.#relievedAt = now
    const { outgrown } = governor
    const worker = outgrown && registry.get(outgrown.id)
    if (worker !== undefined) this.#endForHost(worker)
  }

  #endForHost(worker: Worker): void {
    const { limitBytes, usedBytes: all } = this.#context.governor.stats()
    const usedBytes = worker.memoryBytes ?? 0
    const used = `${formatSize(all)} of ${formatSize(limitBytes)} were in use, and the kernel was about to kill`
    const why = `the agent process and what it started used most of the memory beyond the estimates (${formatSize(usedBytes)})`
    void worker.end(new WorkerMemoryError('host', usedBytes, limitBytes, `${used}; ${why} and were ended; ${AFTER}`))
  }
}

const AFTER = "the prompt may have run, and the session's next turn resumes"
