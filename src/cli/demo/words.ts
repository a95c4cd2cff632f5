import Table from 'cli-table3'
import { PATHS } from './findings.ts'
import type { DemoReport, Path } from './findings.ts'
import type { Audience } from './story.ts'
import { styleOf } from '../shared/style.ts'

const WIDTH = 78

const PATH_WORDS: Record<Path, string> = {
  cold: 'cold: new process, new conversation',
  resumed: 'resumed: new process, old conversation',
  spare: 'spare: started ahead for anybody',
  primed: 'primed: started ahead for this session',
  live: 'live: its process was still there',
}

/** Breaks text into lines of at most `WIDTH`, each after `indent`. */
function wrap(text: string, indent: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line !== '' && indent.length + line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].map((each) => indent + each).join('\n')
}

function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

const ms = (value: number): string => `${Math.round(value)} ms`

/** Tells the demo to people. */
export function storyteller(): Audience {
  const { bold, dim } = styleOf(process.stdout)
  let chapters = 0
  console.log('Real claude processes on a simulated model: no key is needed, no token spent.')
  return {
    chapter(title, why) {
      chapters += 1
      console.log(`\n${bold(`${chapters}. ${title}`)}\n${dim(wrap(why, '   '))}`)
    },
    measured(_path, samples) {
      console.log(`   First message after ${samples.map(ms).join(', ')}.`)
    },
    note(text) {
      console.log(wrap(text, '   '))
    },
  }
}

/** Tells nothing. */
export const silent: Audience = {
  chapter: () => undefined,
  measured: () => undefined,
  note: () => undefined,
}

function timesFaster(report: DemoReport, path: Path): number {
  return median(report.samples.cold) / median(report.samples[path])
}

/** The table and the count of what is left. */
export function printSummary(report: DemoReport): void {
  const { bold, green, red, dim } = styleOf(process.stdout)
  const table = new Table({
    head: ['path', 'first message', '× faster than cold'],
    colAligns: ['left', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  })
  for (const path of PATHS) {
    const factor = path === 'cold' ? '' : `${timesFaster(report, path).toFixed(1)} ×`
    table.push([PATH_WORDS[path], ms(median(report.samples[path])), factor])
  }
  console.log(`\n${table.toString()}`)
  const rounds = report.samples.cold.length
  console.log(dim(wrap(`Medians of ${rounds}. A real model's own time comes on top, the same for all paths.`, '')))
  const { before, left } = report.processes
  const measured = `${left} processes left`
  console.log(
    before === 0
      ? '\nProcesses cannot be counted here: there is no /proc.'
      : `\n${bold(left === 0 ? green(measured) : red(measured))} of ${before} that ran before pool.close(). ` +
          dim(`${report.seconds.toFixed(0)} s in all.`),
  )
  for (const problem of report.broken) console.error(red(`Not as promised: ${problem}`))
}

/** One JSON object. */
export function printJson(report: DemoReport): void {
  const paths = Object.fromEntries(
    PATHS.map((path) => {
      const factor = Number(timesFaster(report, path).toFixed(2))
      return [
        path,
        {
          firstMessageMs: Math.round(median(report.samples[path])),
          timesFasterThanCold: factor,
          samplesMs: report.samples[path].map(Math.round),
        },
      ]
    }),
  )
  const { crash, refusal, processes, seconds, broken } = report
  console.log(JSON.stringify({ paths, crash, refusal, processes, seconds: Number(seconds.toFixed(1)), broken }))
}
