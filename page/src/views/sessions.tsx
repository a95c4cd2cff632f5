import type { SessionRow, SortKey } from '../../../src/server/page/wire.ts'
import { Phase } from '../parts/phase.tsx'
import { age, count, dollars, many } from '../format.ts'
import { listView, now, sections, sessionHref } from '../state.ts'

const COLUMNS: { sort: SortKey; name: string; number?: true; descends?: true }[] = [
  { sort: 'session', name: 'Session' },
  { sort: 'agent', name: 'Agent' },
  { sort: 'state', name: 'State' },
  { sort: 'phase', name: 'Phase' },
  { sort: 'turns', name: 'Turns', number: true, descends: true },
  { sort: 'tokens', name: 'Tokens', number: true, descends: true },
  { sort: 'cost', name: 'Cost', number: true, descends: true },
  { sort: 'used', name: 'Last used', number: true, descends: true },
]

export function Sessions() {
  const { search } = listView.value
  const { order = [], total } = sections.listed.value
  const { sessions } = sections.overview.value
  const rows = order.map((id) => sections.list.value[id]).filter((row) => row !== undefined)
  return (
    <>
      <header class="head">
        <h1>Sessions</h1>
        <a class="button" href="#/talk">
          Talk to an agent
        </a>
      </header>
      <div class="tools">
        <label class="search">
          <span class="unseen">Search sessions</span>
          <input
            type="search"
            placeholder="Search tenant, key, agent, state, phase"
            value={search}
            onInput={({ currentTarget }) =>
              (listView.value = { ...listView.value, search: currentTarget.value.slice(0, 200), offset: 0 })
            }
          />
        </label>
        <label class="sort">
          <span>Sort by</span>
          <select value={listView.value.sort} onChange={({ currentTarget }) => sortBy(currentTarget.value as SortKey)}>
            {COLUMNS.map(({ sort, name }) => (
              <option key={sort} value={sort}>
                {name}
              </option>
            ))}
            <option value="created">Created</option>
          </select>
        </label>
        <p class="quiet" role="status">
          {total === undefined ? 'Reading…' : `${count(total)} ${search === '' ? 'sessions' : 'found'}`}
          {sessions !== undefined && !sessions.complete && total !== undefined && ' of the listed sessions'}
        </p>
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label="Sessions">
        <table class="list">
          <caption class="unseen">Sessions, {count(total ?? 0)} in all</caption>
          <thead>
            <tr>
              {COLUMNS.map((column) => (
                <Head key={column.sort} {...column} />
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <Row key={`${row.tenant}/${row.key}`} row={row} />
            ))}
          </tbody>
        </table>
        {total === 0 && (
          <p class="empty quiet">{search === '' ? 'There are no sessions yet.' : 'No session matches.'}</p>
        )}
      </div>
      <Pages total={total ?? 0} />
    </>
  )
}

function sortBy(sort: SortKey): void {
  const view = listView.value
  const descends = COLUMNS.find((column) => column.sort === sort)?.descends ?? sort === 'created'
  listView.value = { ...view, sort, descending: view.sort === sort ? !view.descending : descends, offset: 0 }
}

function Head({ sort, name, number }: (typeof COLUMNS)[number]) {
  const { value } = listView
  const isSorted = value.sort === sort
  return (
    <th
      scope="col"
      class={number ? 'number' : undefined}
      aria-sort={isSorted ? (value.descending ? 'descending' : 'ascending') : undefined}
    >
      <button type="button" class="plain" onClick={() => sortBy(sort)}>
        {name} <span aria-hidden="true">{isSorted ? (value.descending ? '↓' : '↑') : ''}</span>
      </button>
    </th>
  )
}

function Row({ row }: { row: SessionRow }) {
  return (
    <tr>
      <th scope="row">
        <a href={sessionHref(row.tenant, row.key)}>
          {row.tenant !== 'default' && <span class="quiet">{row.tenant}/</span>}
          {row.key}
        </a>
      </th>
      <td>{row.agent}</td>
      <td>
        <span class={`state-${row.state}`}>{row.state}</span>
      </td>
      <td>
        <Phase phase={row.phase} />
      </td>
      <td class="number">{count(row.turns)}</td>
      <td class="number">{many(row.tokens)}</td>
      <td class="number">{dollars(row.costUsd)}</td>
      <td class="number quiet">{age(Math.max(0, now.value - row.lastUsedAt))}</td>
    </tr>
  )
}

function Pages({ total }: { total: number }) {
  const { offset, limit } = listView.value
  if (total <= limit && offset === 0) return null
  const go = (to: number): void => {
    listView.value = { ...listView.value, offset: Math.max(0, Math.min(to, Math.floor((total - 1) / limit) * limit)) }
  }
  const last = offset + limit >= total
  return (
    <nav class="pages" aria-label="Pages of the list">
      <button type="button" disabled={offset === 0} onClick={() => go(0)}>
        First
      </button>
      <button type="button" disabled={offset === 0} onClick={() => go(offset - limit)}>
        Previous
      </button>
      <span aria-live="polite">
        {count(offset + 1)}–{count(Math.min(offset + limit, total))} of {count(total)}
      </span>
      <button type="button" disabled={last} onClick={() => go(offset + limit)}>
        Next
      </button>
      <button type="button" disabled={last} onClick={() => go(total)}>
        Last
      </button>
    </nav>
  )
}
