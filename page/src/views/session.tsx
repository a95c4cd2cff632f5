import type { ModelFigures, ShownTurn } from '../../../src/server/page/wire.ts'
import { confirm } from '../parts/dialog.tsx'
import { Composer } from '../parts/composer.tsx'
import { Events } from '../parts/events.tsx'
import { Phase, PhaseSums, Waterfall } from '../parts/phase.tsx'
import { Questions } from '../parts/questions.tsx'
import { age, count, dateAndTime, dollars, duration, many, size, timeOfDay } from '../format.ts'
import { now, sections } from '../state.ts'
import { Columns } from '../parts/columns.tsx'
import { CloseWorker } from './workers.tsx'

interface Props {
  tenant: string
  /** The session's key. */
  name: string
  /** Of a session that does not exist yet. */
  agent: string | undefined
}

export function SessionView({ tenant, name, agent }: Props) {
  const { info, problem } = sections.session.value
  return (
    <>
      <header class="head">
        <div>
          <p class="crumbs">
            <a href="#/sessions">Sessions</a> / {tenant}
          </p>
          <h1>{name}</h1>
        </div>
        <Actions tenant={tenant} name={name} />
      </header>
      {info === null && (
        <p class="banner">
          This session does not exist.{' '}
          {agent === undefined ? '' : `Your first message begins it with the agent ${agent}.`}
        </p>
      )}
      {info !== null && typeof problem === 'string' && <p class="banner">{problem}</p>}
      <Facts />
      <div class="session">
        <section class="talk" aria-label="Conversation">
          <Events tenant={tenant} name={name} />
          <Questions tenant={tenant} name={name} />
          <Composer tenant={tenant} name={name} agent={info === null ? agent : undefined} />
        </section>
        <div class="side">
          <Turns />
          <Processes />
        </div>
      </div>
    </>
  )
}

function Actions({ tenant, name: key }: { tenant: string; name: string }) {
  const { info, worker, turn } = sections.session.value
  if (info === undefined || info === null) return null
  return (
    <div class="buttons">
      <button
        type="button"
        disabled={turn === null || turn === undefined}
        onClick={() =>
          confirm(
            { do: 'interrupt', tenant, key },
            {
              title: 'Interrupt the turn?',
              text: 'The agent stops what it does. The session stays.',
              verb: 'Interrupt',
            },
          )
        }
      >
        Interrupt
      </button>
      <button
        type="button"
        disabled={info.state === 'hibernated' || info.state === 'busy'}
        onClick={() =>
          confirm(
            { do: 'hibernate', tenant, key },
            { title: 'Hibernate the session?', text: 'Its process ends. The next turn resumes it.', verb: 'Hibernate' },
          )
        }
      >
        Hibernate
      </button>
      {worker !== undefined && worker !== null && <CloseWorker id={worker.id} busy={worker.state === 'busy'} whole />}
    </div>
  )
}

function Facts() {
  const { info, turn } = sections.session.value
  if (info === undefined || info === null) return null
  const { usage } = info
  return (
    <dl class="facts across">
      <div>
        <dt>State</dt>
        <dd>
          <span class={`state-${info.state}`}>{info.state}</span>
        </dd>
      </div>
      <div>
        <dt>Phase</dt>
        <dd>
          <Phase phase={turn?.phase} />
        </dd>
      </div>
      <div>
        <dt>Agent</dt>
        <dd>{info.agent}</dd>
      </div>
      <div>
        <dt>Turns</dt>
        <dd>{count(info.turns)}</dd>
      </div>
      <div>
        <dt>Tokens</dt>
        <dd>
          {many(usage.inputTokens)} in, {many(usage.outputTokens)} out,{' '}
          {many(usage.cacheReadTokens + usage.cacheWriteTokens)} cache
        </dd>
      </div>
      <div>
        <dt>Cost</dt>
        <dd>
          {usage.estimated && '~'}
          {dollars(usage.costUsd)}
        </dd>
      </div>
      <div>
        <dt>Last used</dt>
        <dd>{age(Math.max(0, now.value - info.lastUsedAt))} ago</dd>
      </div>
      <div>
        <dt>Created</dt>
        <dd>{dateAndTime(info.createdAt)}</dd>
      </div>
    </dl>
  )
}

function Turns() {
  const { turn } = sections.session.value
  const ended = Object.values(sections.turns.value)
    .filter((each) => each !== undefined)
    .toSorted((a, b) => b.startedAt - a.startedAt)
  const runningMs = turn === undefined || turn === null ? 0 : Math.max(0, now.value - turn.startedAt)
  const scaleMs = Math.max(1, runningMs, ...ended.map(({ durationMs }) => durationMs))
  return (
    <section class="card">
      <h2>Turns</h2>
      {turn !== undefined && turn !== null && (
        <article class="turn running" aria-label="The turn that runs">
          <p>
            <b>runs</b> <span class="quiet">since {timeOfDay(turn.startedAt)}</span>
            <span class="figure end">{age(runningMs)}</span>
          </p>
          <Waterfall timeline={turn.timeline} scaleMs={scaleMs} />
          <PhaseSums phases={turn.phases} />
        </article>
      )}
      {ended.map((each) => (
        <Ended key={each.id} turn={each} scaleMs={scaleMs} />
      ))}
      {ended.length === 0 && !turn && (
        <p class="quiet">No turn since this server started. The events show what was said before.</p>
      )}
    </section>
  )
}

function Ended({ turn, scaleMs }: { turn: ShownTurn; scaleMs: number }) {
  const { outcome, durationMs, usage, timeline, phases, warmth, firstMessageMs, startedAt, tools, model } = turn
  const used = Object.entries(tools).toSorted(([, a], [, b]) => b - a)
  return (
    <article class="turn" aria-label={`Turn that began at ${timeOfDay(startedAt)}`}>
      <p>
        <b class={outcome === 'success' ? undefined : 'bad-text'}>{outcome}</b>{' '}
        <span class="quiet">
          {timeOfDay(startedAt)}
          {warmth !== undefined && ` · ${warmth}`}
        </span>
        <span class="figure end">{duration(durationMs)}</span>
      </p>
      <Waterfall timeline={timeline} scaleMs={scaleMs} />
      <PhaseSums phases={phases} />
      <p class="quiet small">
        {usage !== undefined && (
          <>
            {many(usage.inputTokens)} in, {many(usage.outputTokens)} out, {many(usage.cacheReadTokens)} read from the
            cache · {usage.estimated && '~'}
            {dollars(usage.costUsd)}
          </>
        )}
        {model !== undefined && ` · ${modelWords(model)}`}
        {firstMessageMs !== undefined && ` · first message after ${duration(firstMessageMs)}`}
        {used.length > 0 && ` · ${used.map(([tool, ms]) => `${tool} ${duration(ms)}`).join(', ')}`}
      </p>
    </article>
  )
}

function modelWords({ requests, failed, firstTokenMs, tokensPerSecond }: ModelFigures): string {
  const said = [`${requests} ${requests === 1 ? 'request' : 'requests'}${failed === 0 ? '' : `, ${failed} failed`}`]
  if (firstTokenMs !== undefined) said.push(`first token after ${duration(firstTokenMs)}`)
  if (tokensPerSecond !== undefined) said.push(`${Math.round(tokensPerSecond)} tokens/s`)
  return said.join(', ')
}

function Processes() {
  const { worker } = sections.session.value
  return (
    <section class="card">
      <h2>Processes</h2>
      {worker === undefined || worker === null ? (
        <p class="quiet">It has no process. Its next turn starts one, or takes a spare.</p>
      ) : (
        <>
          <p>
            Worker <code>{worker.id}</code> · {worker.state} · {size(worker.memoryBytes)}
          </p>
          <div class="scroll" tabIndex={0} role="region" aria-label="Processes">
            <table>
              <Columns of={[['Command'], ['Pid', 'number'], ['Memory', 'number'], ['Age', 'number']]} />
              <tbody>
                {worker.processes.map(({ pid, depth, command, memoryBytes, ageMs }) => (
                  <tr key={pid}>
                    <td class={`command depth-${Math.min(depth, 6)}`} title={command}>
                      <code>{command.slice(0, 80)}</code>
                    </td>
                    <td class="number">{pid}</td>
                    <td class="number">{size(memoryBytes)}</td>
                    <td class="number quiet">{age(ageMs)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </section>
  )
}
