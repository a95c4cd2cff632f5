import { styleOf } from '../shared/style.ts'

/** What the demo of a cluster has found. */
export interface ClusterReport {
  hosts: number
  /** From the end of the host to the next word of the agent. */
  silenceMs: number
  /** Prompts that were sent, and of these, how many are not stored. */
  prompts: number
  missing: number
  /** Events that are stored more than once. */
  doubled: number
  /** Processes of the killed host that are still there. */
  left: number
  /** What was not as promised. */
  broken: string[]
}

export function printClusterSummary({ silenceMs, prompts, missing, doubled, left, broken }: ClusterReport): void {
  const { bold, green, red } = styleOf(process.stdout)
  const isWhole = missing === 0 && doubled === 0 && left === 0
  const sentence = `${missing} of ${prompts} prompts lost, ${doubled} events stored twice, ${left} processes left`
  console.log(`\n${bold(isWhole ? green(sentence) : red(sentence))}`)
  console.log(
    `The conversation was silent for ${(silenceMs / 1_000).toFixed(1)} s: until the others knew, and a new process had resumed it.`,
  )
  for (const problem of broken) console.error(red(`Not as promised: ${problem}`))
}
