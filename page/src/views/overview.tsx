import { Chart } from '../parts/chart.tsx'
import { confirm } from '../parts/dialog.tsx'
import { PHASES, Parts } from '../parts/phase.tsx'
import { count, dateAndTime, dollars, many, size } from '../format.ts'
import { hello, sections } from '../state.ts'
import type { Sample, WorkerRow } from '../../../src/server/page/wire.ts'
import { MemoryBar } from '../parts/memory-bar.tsx'
import { Columns } from '../parts/columns.tsx'

const TURNS = [
  { label: 'running', colour: '--model', value: ({ running }: Sample) => running },
  { label: 'waiting', colour: '--queued', value: ({ waiting }: Sample) => waiting },
]

const MEMORY = [{ label: 'memory in use', colour: '--tool', value: ({ usedBytes }: Sample) => usedBytes }]

const WARMTH = ['live', 'thawed', 'primed', 'spare', 'resumed', 'cold'] as const

const whole = (value: number): string => (Number.isInteger(value) ? count(value) : '')

export function Overview() {
  const overview = sections.overview.value
  const { verdict, turns, memory } = overview
  if (verdict === undefined || turns === undefined || memory === undefined)
    return <p class="quiet loading">Connecting…</p>
  const samples = Object.values(sections.samples.value).filter((sample) => sample !== undefined)
  return (
    <>
      <header class="head">
        <h1>Overview</h1>
        <Actions />
      </header>
      <section class={`verdict ${verdict.state}`} aria-label="How traffic goes">
        <p class="says">
          <span class="state">{verdict.state}</span> {verdict.says}
        </p>
        {verdict.next.length > 0 && (
          <ul>
            {verdict.next.map((advice) => (
              <li key={advice}>{advice}</li>
            ))}
          </ul>
        )}
      </section>
      <div class="cards">
        <Turns />
        <Phases />
        <section class="card wide">
          <h2>Traffic</h2>
          <Chart
            samples={samples}
            series={TURNS}
            label="Turns that run and wait, over the last ten minutes"
            format={whole}
          />
        </section>
        <section class="card wide">
          <h2>Memory</h2>
          <MemoryBar memory={memory} workers={Object.values(sections.workers.value).filter(isRow)} />
          <Chart samples={samples} series={MEMORY} label="Memory in use over the last ten minutes" format={size} />
        </section>
        <Warmth />
        <Refusals />
        <Usage />
        <Hosts />
      </div>
    </>
  )
}

const isRow = (row: WorkerRow | undefined): row is WorkerRow => row !== undefined

function Actions() {
  const suspended = sections.overview.value.suspended
  const isSuspended = suspended?.pool === true
  const suspend = (): void =>
    isSuspended
      ? confirm({ do: 'resume' }, { title: 'Resume the pool?', text: 'Turns start again.', verb: 'Resume' })
      : confirm(
          { do: 'suspend' },
          {
            title: 'Suspend the pool?',
            text: 'Running turns go on. New ones wait or are refused until you resume.',
            verb: 'Suspend',
            dangerous: true,
          },
        )
  return (
    <div class="buttons">
      <button type="button" onClick={suspend}>
        {isSuspended ? 'Resume' : 'Suspend'}
      </button>
      <button
        type="button"
        onClick={() =>
          confirm(
            { do: 'pruneDryRun' },
            {
              title: 'Try retention?',
              text: 'This only counts what retention would remove now. Nothing is removed.',
              verb: 'Count',
            },
          )
        }
      >
        Prune (dry run)
      </button>
      {hello.value?.canDrain === true && (
        <button
          type="button"
          class="danger"
          onClick={() =>
            confirm(
              { do: 'drain' },
              {
                title: 'Drain this server?',
                text: 'It takes no new turns, lets the running ones end, and exits. This cannot be undone from here.',
                verb: 'Drain',
                dangerous: true,
              },
            )
          }
        >
          Drain
        </button>
      )}
    </div>
  )
}

function Turns() {
  const { turns, memory, waits, obstacle, suspended, recentlyShed = 0 } = sections.overview.value
  if (turns === undefined || memory === undefined) return null
  const capacity = Math.min(turns.limit ?? Infinity, memory.turnsThatFit ?? Infinity)
  const bound =
    (turns.limit ?? Infinity) < (memory.turnsThatFit ?? Infinity) ? 'limits.turns' : `memory (${memory.boundBy})`
  const reasons = Object.entries(waits?.byReason ?? {})
  return (
    <section class="card">
      <h2>Turns</h2>
      <p class="big">
        {count(turns.running)} <span class="quiet">of {Number.isFinite(capacity) ? count(capacity) : '∞'} run</span>
      </p>
      <dl class="facts">
        <dt>Waiting</dt>
        <dd>
          {count(turns.waiting)}
          {reasons.length > 0 && <span class="quiet"> · {reasons.map(([why, n]) => `${why} ${n}`).join(', ')}</span>}
        </dd>
        <dt>Bounded by</dt>
        <dd>{Number.isFinite(capacity) ? bound : 'nothing'}</dd>
        <dt>Next turn</dt>
        <dd>{obstacle === null ? 'would start' : <b class="bad-text">refused or waits: {obstacle}</b>}</dd>
        <dt>Refused, last minute</dt>
        <dd>{count(recentlyShed)}</dd>
        {suspended !== undefined && suspended.tenants.length > 0 && (
          <>
            <dt>Suspended tenants</dt>
            <dd>
              {suspended.tenants.map((tenant) => (
                <button
                  key={tenant}
                  type="button"
                  class="small"
                  onClick={() =>
                    confirm(
                      { do: 'resume', tenant },
                      { title: `Resume tenant ${tenant}?`, text: 'Its turns start again.', verb: 'Resume' },
                    )
                  }
                >
                  Resume {tenant}
                </button>
              ))}
            </dd>
          </>
        )}
      </dl>
    </section>
  )
}

function Phases() {
  const { phases = {} } = sections.overview.value
  const parts = PHASES.map((name) => ({ name, value: phases[name] ?? 0, swatch: name }))
  return (
    <section class="card">
      <h2>What turns do now</h2>
      <Parts parts={parts} label="Turns by phase" format={count} />
      <p>
        <a href="#/sessions">Longest first in the list of sessions</a>
      </p>
    </section>
  )
}

function Warmth() {
  const { totals, workers, starts } = sections.overview.value
  if (totals === undefined) return null
  const parts = WARMTH.map((name) => ({ name, value: totals.turnsByWarmth[name], swatch: `warmth-${name}` }))
  const all = parts.reduce((sum, { value }) => sum + value, 0)
  const warm = parts.slice(0, 3).reduce((sum, { value }) => sum + value, 0)
  return (
    <section class="card">
      <h2>Warmth</h2>
      <Parts parts={parts} label="Turns by how they found their process" format={count} />
      <p class="quiet">
        {all === 0
          ? 'No turn has had a process yet.'
          : `${Math.round((warm / all) * 100)} % of turns found a process that was up.`}{' '}
        {workers !== undefined && `${workers.busy} busy, ${workers.idle} idle, ${workers.spares} spare.`}{' '}
        {starts !== undefined &&
          starts.running + starts.waiting > 0 &&
          `${starts.running} start, ${starts.waiting} wait to.`}
      </p>
    </section>
  )
}

function Refusals() {
  const { totals } = sections.overview.value
  const reasons = Object.entries(totals?.refusedByReason ?? {})
  const outcomes = Object.entries(totals?.turnsByOutcome ?? {})
  return (
    <section class="card">
      <h2>Since the start</h2>
      <table>
        <caption class="unseen">Turns by outcome and refusals by reason</caption>
        <tbody>
          {outcomes.map(([outcome, n]) => (
            <tr key={outcome}>
              <th scope="row">{outcome}</th>
              <td class="number">{count(n)}</td>
            </tr>
          ))}
          {reasons.map(([reason, n]) => (
            <tr key={`refused ${reason}`} class="bad-text">
              <th scope="row">refused: {reason}</th>
              <td class="number">{count(n)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {reasons.length === 0 && <p class="quiet">No turn was refused.</p>}
    </section>
  )
}

function Usage() {
  const { usage = [], suspended } = sections.overview.value
  return (
    <section class="card wide">
      <h2>Tokens and cost</h2>
      {usage.length === 0 ? (
        <p class="quiet">Nothing was used yet.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Tokens and cost by tenant and agent">
          <table>
            <Columns of={[['Tenant'], ['Agent'], ['Tokens', 'number'], ['Cost', 'number'], ['Actions', 'unseen']]} />
            <tbody>
              {usage.map(({ tenant, agent, tokens, costUsd }) => (
                <tr key={`${tenant} ${agent}`}>
                  <td>{tenant}</td>
                  <td>{agent}</td>
                  <td class="number">{many(tokens)}</td>
                  <td class="number">{dollars(costUsd)}</td>
                  <td class="actions">
                    {suspended?.tenants.includes(tenant) !== true && (
                      <button
                        type="button"
                        class="small"
                        onClick={() =>
                          confirm(
                            { do: 'suspend', tenant },
                            {
                              title: `Suspend tenant ${tenant}?`,
                              text: 'Its running turns go on, new ones do not start until you resume it.',
                              verb: 'Suspend',
                              dangerous: true,
                            },
                          )
                        }
                      >
                        Suspend {tenant}
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}

function Hosts() {
  const hosts = Object.values(sections.hosts.value).filter((host) => host !== undefined)
  return (
    <section class="card wide">
      <h2>Hosts</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Hosts">
        <table>
          <Columns
            of={[
              ['Host'],
              ['State'],
              ['Running', 'number'],
              ['Waiting', 'number'],
              ['Free', 'number'],
              ['Version'],
              ['Started'],
              ['Memory', 'number'],
            ]}
          />
          <tbody>
            {hosts.map(({ name, state, running, waiting, free, version, here }) => (
              <tr key={name}>
                <td>
                  {name} {here !== undefined && <span class="quiet">this host, pid {here.pid}</span>}
                </td>
                <td>{state}</td>
                <td class="number">{running}</td>
                <td class="number">{waiting}</td>
                <td class="number">{free}</td>
                <td>
                  {version} {here !== undefined && <span class="quiet">Node {here.node}</span>}
                </td>
                <td>{here === undefined ? '' : dateAndTime(here.startedAt)}</td>
                <td class="number">{here === undefined ? '' : size(here.rssBytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}
