import { count, size } from '../format.ts'
import { sections } from '../state.ts'
import { Columns } from '../parts/columns.tsx'

export function Agents() {
  const rows = Object.values(sections.agents.value).filter((row) => row !== undefined)
  return (
    <>
      <header class="head">
        <h1>Agents</h1>
      </header>
      <p class="quiet lead">
        What a process of each agent needs is learned from measurements. Admission and residency count with it. Until
        there are samples, a prior holds.
      </p>
      <div class="scroll" tabIndex={0} role="region" aria-label="Agents">
        <table class="list">
          <caption class="unseen">Agents and their learned needs</caption>
          <Columns
            of={[
              ['Agent'],
              ['Model'],
              ['Permissions'],
              ['Turns now', 'number'],
              ['Workers', 'number'],
              ['Needs in a turn', 'number'],
              ['Needs when idle', 'number'],
            ]}
          />
          <tbody>
            {rows.map(({ name, model, permissionMode, running, workers, needs }) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{model ?? <span class="quiet">default</span>}</td>
                <td>{permissionMode ?? <span class="quiet">default</span>}</td>
                <td class="number">{count(running)}</td>
                <td class="number">{count(workers)}</td>
                <td class="number">
                  <Need bytes={needs?.runningBytes} samples={needs?.runningSamples} />
                </td>
                <td class="number">
                  <Need bytes={needs?.idleBytes} samples={needs?.idleSamples} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  )
}

const Need = ({ bytes, samples = 0 }: { bytes: number | undefined; samples: number | undefined }) => (
  <>
    {size(bytes)} <span class="quiet">{samples === 0 ? 'prior' : `${count(samples)} samples`}</span>
  </>
)
