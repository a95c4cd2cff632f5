import type { Gate } from '../admission/gate.ts'
import type { Clock } from '../clock.ts'
import { PoolClosedError } from '../errors.ts'
import type { PoolEmitter } from '../events.ts'
import type { Governor } from '../memory/governor.ts'
import type { Worker } from '../worker/worker.ts'
import type { Registry } from './registry.ts'
import type { Residents } from './residents.ts'
import { workerInfo } from './worker-info.ts'

export interface PlacementContext {
  clock: Clock
  registry: Registry
  governor: Governor
  gate: Gate
  residents: Residents<Worker>
  emitter: PoolEmitter
}

/** Finds room for workers, and evicts idle ones if there is none. */
export class Placement {
  readonly #context: PlacementContext

  constructor(context: PlacementContext) {
    this.#context = context
  }

  /** True when one more spare would fit. Asked before anything is prepared: a full pool would make and remove directories for ever. */
  fitsSpare(agent: string): boolean {
    return this.#context.governor.fitsSpare(agent)
  }

  /** True while no spare is kept, so that there is memory for turns. */
  get underPressure(): boolean {
    return this.#context.governor.pressure !== 'none'
  }

  /** Takes a place for one more spare and makes it at once; undefined when nothing is free. Evicts nothing. */
  registerIfFree(agent: string, make: () => Worker): Worker | undefined {
    return this.fitsSpare(agent) ? this.#register(make) : undefined
  }

  /**
   * Makes a worker as soon as there is room for it. Nothing else can take the place between the check and the start. Throws
   * CapacityError, PoolClosedError.
   */
  async place(agent: string, purpose: 'turn' | 'ahead', make: () => Worker): Promise<Worker> {
    const fits = (): boolean => this.#context.governor.fitsAnother(agent, purpose)
    while (!fits()) await this.#makeRoom(fits)
    return this.#register(make)
  }

  /** Makes room for what the present workers have yet to grow by. Throws CapacityError. */
  async makeRoomToGrow(): Promise<void> {
    await this.#makeRoom(() => this.#context.governor.fits)
  }

  #register(make: () => Worker): Worker {
    const { clock, gate, registry, governor, emitter } = this.#context
    if (gate.draining) throw new PoolClosedError()
    const worker = make()
    registry.add(worker)
    governor.changed(worker)
    emitter.tell('worker.started', { worker: workerInfo(worker, clock) })
    return worker
  }

  /** Hibernates idle workers until it fits. None left that could go: CapacityError. */
  async #makeRoom(fits: () => boolean): Promise<void> {
    const { registry, residents, gate } = this.#context
    while (!fits()) {
      const leaving = [...registry].find(({ state }) => state === 'closing')
      const next = leaving ?? residents.evictionCandidate()
      if (next === undefined) throw gate.refuse('memory', 'no room for another process, and none that could leave')
      await next.close('evicted')
    }
  }
}
