import { useState } from 'preact/hooks'
import type { WorkerRow } from '../../../src/server/page/wire.ts'
import { confirm } from '../parts/dialog.tsx'
import { Phase } from '../parts/phase.tsx'
import { age, count, size } from '../format.ts'
import { now, sections, sessionHref } from '../state.ts'
import { Columns } from '../parts/columns.tsx'

type Sort = 'memory' | 'age' | 'phase'

const VALUES: Record<Sort, (row: WorkerRow) => number> = {
  memory: ({ memoryBytes = 0 }) => -memoryBytes,
  age: ({ startedAt }) => startedAt,
  phase: ({ phase }) => phase?.since ?? Infinity,
}

export function Workers() {
  const [sort, setSort] = useState<Sort>('memory')
  const rows = Object.values(sections.workers.value).filter((row) => row !== undefined)
  const sorted = rows.toSorted((a, b) => VALUES[sort](a) - VALUES[sort](b))
  return (
    <>
      <header class="head">
        <h1>Workers</h1>
        <label class="sort">
          <span>Sort by</span>
          <select value={sort} onChange={({ currentTarget }) => setSort(currentTarget.value as Sort)}>
            <option value="memory">memory</option>
            <option value="age">age</option>
            <option value="phase">phase</option>
          </select>
        </label>
      </header>
      {rows.length === 0 && <p class="empty quiet">No worker runs.</p>}
      {rows.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Workers">
          <table class="list">
            <caption class="unseen">Workers, {rows.length} in all</caption>
            <Columns
              of={[
                ['Worker'],
                ['Session'],
                ['Agent'],
                ['State'],
                ['Phase'],
                ['Memory', 'number'],
                ['Processes', 'number'],
                ['Turns', 'number'],
                ['Age', 'number'],
                ['Actions', 'unseen'],
              ]}
            />
            <tbody>
              {sorted.map((row) => (
                <Row key={row.id} row={row} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  )
}

function Row({ row }: { row: WorkerRow }) {
  const { id, pid, tenant, session, agent, state, phase, memoryBytes, processes, turns, startedAt, pinnedBy } = row
  return (
    <tr>
      <th scope="row">
        <code>{id}</code> <span class="quiet">{pid}</span>
      </th>
      <td>
        {session === undefined ? (
          <span class="quiet">spare</span>
        ) : (
          <a href={sessionHref(tenant, session)}>
            {tenant !== 'default' && <span class="quiet">{tenant}/</span>}
            {session}
          </a>
        )}
      </td>
      <td>{agent}</td>
      <td>
        <span class={`state-${state}`}>{state}</span>
        {pinnedBy !== undefined && <span class="quiet"> pinned</span>}
      </td>
      <td>
        <Phase phase={phase} />
      </td>
      <td class="number">{size(memoryBytes)}</td>
      <td class="number">{count(processes)}</td>
      <td class="number">{count(turns)}</td>
      <td class="number quiet">{age(Math.max(0, now.value - startedAt))}</td>
      <td class="actions">
        <CloseWorker id={id} busy={state === 'busy'} />
      </td>
    </tr>
  )
}

/** A worker in mid-turn closes after it; a second button ends it at once. */
export function CloseWorker({ id, busy, whole = false }: { id: string; busy: boolean; whole?: boolean }) {
  const small = whole ? '' : 'small'
  const of = whole ? ' worker' : <span class="unseen"> worker {id}</span>
  return (
    <>
      <button
        type="button"
        class={small}
        onClick={() =>
          confirm(
            { do: 'closeWorker', id },
            {
              title: `Close worker ${id}?`,
              text: busy
                ? 'It closes when its turn has ended. Its session stays.'
                : 'Its process ends now. Its session stays, and its next turn starts another process.',
              verb: 'Close worker',
            },
          )
        }
      >
        Close{of}
      </button>
      {busy && (
        <button
          type="button"
          class={`${small} danger`}
          onClick={() =>
            confirm(
              { do: 'closeWorker', id, now: true },
              {
                title: `Close worker ${id} in mid-turn?`,
                text: 'Its turn fails with an error. Its session stays.',
                verb: 'Close now',
                dangerous: true,
              },
            )
          }
        >
          {whole ? 'Close now' : 'Now'}
          {!whole && of}
        </button>
      )}
    </>
  )
}
