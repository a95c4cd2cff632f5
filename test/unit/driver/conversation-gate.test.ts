import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConversationGate } from '../../../src/driver/conversation-gate.ts'
import { Spool } from '../../../src/driver/spool.ts'

const KIB = 1024
const MIB = 1024 * KIB
const NOT_FULL = 2 ** 40

let folder: string
let number = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pool-gate-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

interface Setup {
  source: PassThrough
  gate: ConversationGate
  file: string
  /** What came out so far. */
  output: () => string
  violations: string[]
  cuts: string[]
  /** What it said of holding. */
  said: boolean[]
  ended: Promise<void>
  /** Writes and waits until the gate has taken it, or has stopped taking. */
  write: (text: string) => Promise<void>
}

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** Lets everything happen that needs nothing but time for the disk. */
const settle = async (): Promise<void> => {
  for (let quiet = 0; quiet < 3; quiet += 1) {
    await turnOfTheLoop()
    if (process.getActiveResourcesInfo().some((name) => /^(FS|Close)Req/.test(name))) quiet = 0
  }
}

const open = (spoolLimit = NOT_FULL): Setup => {
  const source = new PassThrough({ highWaterMark: 16 * KIB })
  const file = join(folder, `${(number += 1)}.jsonl`)
  const violations: string[] = []
  const cuts: string[] = []
  const said: boolean[] = []
  const gate = new ConversationGate(source, new Spool(file, spoolLimit), {
    onOutput: () => undefined,
    onViolation: (problem) => violations.push(problem),
    onCut: (problem) => cuts.push(problem),
    onHolding: (holding) => said.push(holding),
  })
  gate.on('error', () => undefined)
  const texts: string[] = []
  gate.on('data', (text: string) => texts.push(text))
  const ended = new Promise<void>((resolve) => {
    gate.once('close', resolve)
    gate.once('end', resolve)
  })
  return {
    source,
    gate,
    file,
    output: () => texts.join(''),
    violations,
    cuts,
    said,
    ended,
    async write(text) {
      source.write(text)
      await settle()
    },
  }
}

const conversation = (id: number, length: number): string =>
  `{"type":"assistant","id":${id},"text":"${'x'.repeat(length)}"}\n`
const control = (id: number): string => `{"type":"control_request","id":${id}}\n`

const isControl = (line: string): boolean => line.startsWith('{"type":"control_')

/** Each line by its beginning, its length and its hash, so that a failure can be read. */
const linesOf = (text: string): string[] =>
  text.split('\n').map((line) => {
    const hash = createHash('sha1').update(line).digest('hex').slice(0, 8)
    return line.length < 80 ? line : `${line.slice(0, 40)}… ${line.length} ${hash}`
  })

describe('while its reader reads', () => {
  test('everything passes at once', async () => {
    const { write, output, gate, file } = open()
    await write(conversation(1, 10) + control(2) + conversation(3, 10))
    expect(linesOf(output())).toEqual(linesOf(conversation(1, 10) + control(2) + conversation(3, 10)))
    expect(gate.holding).toBe(false)
    expect(existsSync(file)).toBe(false)
  })

  test('the end of the source is the end', async () => {
    const { source, output, ended } = open()
    source.end(conversation(1, 10))
    await ended
    expect(linesOf(output())).toEqual(linesOf(conversation(1, 10)))
  })
})

describe('while its reader does not read', () => {
  test('it says when something begins to wait for its reader, and when nothing does any more', async () => {
    const { write, gate, said } = open()
    await write(conversation(1, MIB) + conversation(2, MIB))
    expect([gate.holding, said]).toEqual([true, [true]])
    await write(conversation(3, MIB))
    expect(said).toEqual([true])
    while (gate.holding) {
      gate.consumed()
      await settle()
    }
    expect(said).toEqual([true, false])
  })

  test('the conversation waits beyond the window, and control lines overtake it', async () => {
    const { write, output, gate } = open()
    await write(conversation(1, MIB))
    await write(conversation(2, 10))
    expect(gate.holding).toBe(true)
    await write(control(3))
    expect(linesOf(output())).toEqual(linesOf(conversation(1, MIB) + control(3)))
    gate.consumed()
    await settle()
    expect(linesOf(output())).toEqual(linesOf(conversation(1, MIB) + control(3) + conversation(2, 10)))
    expect(gate.holding).toBe(false)
  })

  test('a control line never cuts into a line that comes back from disk in pieces', async () => {
    const { write, output, gate, source } = open()
    await write(conversation(1, MIB))
    await write(conversation(2, 3 * MIB))
    gate.consumed()
    for (let id = 3; id < 40; id += 1) {
      source.write(control(id))
      await turnOfTheLoop()
    }
    await settle()
    const conversationLines = linesOf(output()).filter((line) => !isControl(line))
    expect(conversationLines).toEqual(linesOf(conversation(1, MIB) + conversation(2, 3 * MIB)))
    expect(linesOf(output()).filter(isControl)).toHaveLength(37)
  })

  test('a line that was begun is passed on to its end, whatever the window says', async () => {
    const { write, output } = open()
    const line = conversation(1, 3 * MIB)
    for (let start = 0; start < line.length; start += 512 * KIB) await write(line.slice(start, start + 512 * KIB))
    expect(linesOf(output())).toEqual(linesOf(line))
  })

  test('much goes to disk, comes back in order, and the file is gone afterwards', async () => {
    const { write, output, gate, file } = open()
    const lines = Array.from({ length: 40 }, (_, id) => conversation(id, 128 * KIB))
    for (const line of lines) await write(line)
    expect(existsSync(file)).toBe(true)
    expect(gate.holding).toBe(true)
    for (let round = 0; round < 200 && output().length < lines.join('').length; round += 1) {
      gate.consumed()
      await settle()
    }
    gate.consumed()
    await settle()
    expect(linesOf(output())).toEqual(linesOf(lines.join('')))
    expect(existsSync(file)).toBe(false)
  })

  test('a full spool holds back the process itself, and lets it go on afterwards', async () => {
    const { source, write, output, gate } = open(2 * MIB)
    const lines = Array.from({ length: 80 }, (_, id) => conversation(id, 128 * KIB))
    for (const line of lines) await write(line)
    expect(source.isPaused()).toBe(true)
    expect(source.readableLength + source.writableLength).toBeGreaterThan(4 * MIB)
    for (let round = 0; round < 200 && output().length < lines.join('').length; round += 1) {
      gate.consumed()
      await settle()
    }
    expect(linesOf(output())).toEqual(linesOf(lines.join('')))
    expect(source.isPaused()).toBe(false)
  })

  test('a process that exits while it is held back has said all that is in its pipe', async () => {
    const { source, write, output, gate, ended } = open(2 * MIB)
    const lines = Array.from({ length: 48 }, (_, id) => conversation(id, 128 * KIB))
    for (const line of lines) await write(line)
    expect(source.isPaused()).toBe(true)
    gate.sourceExited()
    await settle()
    gate.endOfSource()
    for (let round = 0; round < 200 && !gate.readableEnded; round += 1) {
      gate.consumed()
      await settle()
    }
    await ended
    expect(linesOf(output())).toEqual(linesOf(lines.join('')))
  })

  test('what outlives a process and floods its pipe is held back as before', async () => {
    const { source, write, gate, ended } = open(2 * MIB)
    for (let id = 0; id < 40; id += 1) await write(conversation(id, 128 * KIB))
    gate.sourceExited()
    for (let id = 0; id < 40; id += 1) await write(conversation(id, 128 * KIB))
    expect(source.isPaused()).toBe(true)
    expect(source.readableLength + source.writableLength).toBeGreaterThan(MIB)
    gate.destroy()
    await ended
  })

  test('the end of the source waits for what is held back', async () => {
    const { source, write, output, gate, ended } = open()
    await write(conversation(1, MIB) + conversation(2, 10))
    source.end()
    await settle()
    expect(gate.readableEnded).toBe(false)
    gate.consumed()
    await ended
    expect(linesOf(output())).toEqual(linesOf(conversation(1, MIB) + conversation(2, 10)))
  })

  test.each([0, 1, 2, 3, 4, 5])(
    'it can be given up: nothing is left on disk, also when that is just being written (%d turns of the loop later)',
    async (turns) => {
      const { gate, source, file, ended } = open()
      source.write(conversation(1, MIB))
      source.write(conversation(2, 3 * MIB))
      for (let turn = 0; turn < turns; turn += 1) await turnOfTheLoop()
      gate.destroy()
      await ended
      await settle()
      expect(existsSync(file)).toBe(false)
      expect(gate.holding).toBe(false)
    },
  )
})

describe('what breaks the protocol', () => {
  test('a message that is too long does not: its beginning is passed on as a whole message, and so is what follows', async () => {
    const { write, output, cuts, violations, gate } = open()
    await write(
      '{"type":"user","message":{"content":[{"tool_use_id":"t","content":"kept"}]},"tool_use_result":{"list":["',
    )
    for (let written = 0; written < 60; written += 1) {
      await write(`${'x'.repeat(MIB - 3)}","`)
      gate.consumed()
    }
    await write('"]}}\n{"type":"result"}\n')
    gate.consumed()
    await settle()
    const [cut = '', ...rest] = output().split('\n')
    expect(JSON.parse(cut)).toMatchObject({ type: 'user', message: { content: [{ content: 'kept' }] } })
    expect(rest).toEqual(['{"type":"result"}', ''])
    expect(cuts).toEqual([`it said a message of more than ${48 * MIB} bytes`])
    expect([violations, gate.destroyed]).toEqual([[], false])
  })

  test('a line without end closes the gate before it has filled the memory', async () => {
    const { write, violations, gate } = open()
    await write('{')
    for (let written = 0; written <= 48 && !gate.destroyed; written += 1) await write('x'.repeat(MIB))
    expect(violations).toEqual([`it wrote a line of more than ${48 * MIB} bytes`])
    expect(gate.destroyed).toBe(true)
  })

  test('a line that begins no JSON object is dropped, and closes the gate when it has no end', async () => {
    const { write, violations, gate } = open()
    for (let written = 0; written <= 2 && !gate.destroyed; written += 1) await write('x'.repeat(MIB))
    expect(violations).toEqual([`it wrote a line of more than ${2 * MIB} bytes`])
    expect(gate.destroyed).toBe(true)
  })

  test('a disk that cannot be written to closes the gate and says so', async () => {
    const source = new PassThrough()
    const violations: string[] = []
    const gate = new ConversationGate(source, new Spool('/dev/null/nowhere/spool', NOT_FULL), {
      onOutput: () => undefined,
      onViolation: (problem) => violations.push(problem),
      onCut: () => undefined,
    })
    gate.on('error', () => undefined)
    gate.resume()
    const closed = new Promise((resolve) => gate.once('close', resolve))
    source.write(conversation(1, MIB))
    source.write(conversation(2, 2 * MIB))
    await closed
    expect(violations).toEqual([expect.stringContaining('its output could not be kept on disk')])
  })
})

test('however output is cut and however it is read, every line comes out once, whole, and in order', async () => {
  const lineOf = fc.oneof(
    { weight: 1, arbitrary: fc.constant('control' as const) },
    { weight: 3, arbitrary: fc.constantFrom(0, 100, 5 * KIB, 300 * KIB, 700 * KIB) },
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(lineOf, { maxLength: 24 }),
      fc.infiniteStream(fc.constantFrom(1, 17, 1_000, 64 * KIB, MIB)),
      fc.infiniteStream(fc.constantFrom('consume', 'settle', 'nothing')),
      fc.constantFrom(512 * KIB, NOT_FULL),
      async (plan, sizes, steps, spoolLimit) => {
        const { source, gate, output, file, ended } = open(spoolLimit)
        const lines = plan.map((line, id) => (line === 'control' ? control(id) : conversation(id, line)))
        const bytes = Buffer.from(lines.join(''))
        for (let start = 0; start < bytes.length;) {
          const size = Math.max(sizes.next().value, Math.floor(bytes.length / 200))
          source.write(bytes.subarray(start, start + size))
          start += size
          const step = steps.next().value
          if (step === 'consume') gate.consumed()
          else if (step === 'settle') await turnOfTheLoop()
        }
        source.end()
        let going = true
        void ended.then(() => {
          going = false
        })
        for (let round = 0; going && round < 1_000; round += 1) {
          gate.consumed()
          await settle()
        }
        const expected = linesOf(lines.join(''))
        const actual = linesOf(output())
        expect(actual.filter(isControl)).toEqual(expected.filter(isControl))
        expect(actual.filter((line) => !isControl(line))).toEqual(expected.filter((line) => !isControl(line)))
        expect(existsSync(file)).toBe(false)
        expect(going).toBe(false)
      },
    ),
    { numRuns: 25 },
  )
  expect(await readdir(folder)).toEqual([])
})
