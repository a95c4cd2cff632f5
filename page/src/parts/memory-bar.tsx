import type { Sections, WorkerRow } from '../../../src/server/page/wire.ts'
import { size } from '../format.ts'
import { sessionHref } from '../state.ts'

/** What memory is used for: the host, each worker with what it started, other programs, what is kept back, and what is free. */
export function MemoryBar({
  memory,
  workers,
}: {
  memory: Sections['overview']['memory']
  workers: readonly WorkerRow[]
}) {
  // Infinity has no words in JSON.
  const limit = memory.limitBytes as number | null
  if (limit === null) return <p class="quiet">No limit is set. Workers use {size(memory.workersBytes)}.</p>
  const measured = workers.filter(({ memoryBytes = 0 }) => memoryBytes > 0)
  const sorted = measured.toSorted((a, b) => (b.memoryBytes ?? 0) - (a.memoryBytes ?? 0))
  const others = Math.max(0, memory.usedBytes - memory.hostBytes - memory.workersBytes)
  const width = (bytes: number) => ({ width: `${(bytes / limit) * 100}%` })
  return (
    <figure class="parts">
      <div class="bar memory" role="group" aria-label={`${size(memory.usedBytes)} of ${size(limit)} in use`}>
        <span class="mem-other" style={width(others)} title={`other programs ${size(others)}`} />
        <span class="mem-host" style={width(memory.hostBytes)} title={`this host ${size(memory.hostBytes)}`} />
        {sorted.map(({ id, tenant, session, agent, memoryBytes = 0, state }) => {
          const title = `${session ?? 'spare'} (${agent}, ${state}) ${size(memoryBytes)}`
          const part = { class: `mem-worker ${state}`, style: width(memoryBytes), title }
          return session === undefined ? (
            <span key={id} {...part} />
          ) : (
            <a key={id} {...part} href={sessionHref(tenant, session)} aria-label={title} />
          )
        })}
        <span
          class="mem-charged"
          style={width(memory.chargedBytes)}
          title={`charged for turns to come ${size(memory.chargedBytes)}`}
        />
      </div>
      <figcaption>
        <Key swatch="mem-worker" name={`${workers.length} workers`} bytes={memory.workersBytes} />
        <Key swatch="mem-host" name="this host" bytes={memory.hostBytes} />
        <Key swatch="mem-other" name="other programs" bytes={others} />
        <Key swatch="mem-charged" name="charged" bytes={memory.chargedBytes} />
        <span class="key">
          headroom <b>{size(memory.headroomBytes)}</b>
        </span>
        <span class="key">
          limit <b>{size(limit)}</b> <span class="quiet">{memory.boundBy}</span>
        </span>
        {memory.pressure !== 'none' && <b class="bad-text">pressure {memory.pressure}</b>}
      </figcaption>
    </figure>
  )
}

const Key = ({ swatch, name, bytes }: { swatch: string; name: string; bytes: number }) => (
  <span class="key">
    <span class={`swatch ${swatch}`} aria-hidden="true" /> {name} <b>{size(bytes)}</b>
  </span>
)
