import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readConversation } from '../../../src/simulator/prompt.ts'
import type { Block, Message } from '../../../src/simulator/wire.ts'

/** The shapes below were recorded from the claude CLI 2.1.329 and 2.1.332. */
const reminder = (text: string): string => `<system-reminder>\n${text}\n</system-reminder>`
const text = (value: string): Block => ({ type: 'text', text: value })
const user = (...content: readonly (Block | string)[]): Message => ({
  role: 'user',
  content: content.map((part) => (typeof part === 'string' ? text(part) : part)),
})
const says = (value: string): Message => ({ role: 'assistant', content: [text(value)] })
const calls = (name: string, id = 'toolu_1'): Message => ({
  role: 'assistant',
  content: [{ type: 'tool_use', id, name, input: {} }],
})
const result = (content: string | Block[], id = 'toolu_1'): Block => ({ type: 'tool_result', tool_use_id: id, content })
const system = (value: string): Message => ({ role: 'system', content: reminder(value) })
const image: Block = { type: 'image', source: {} }
const steered = (prompt: string): string =>
  `The user sent a new message while you were working:\n${prompt}\n\nThis is how Claude Code surfaces messages the user sends mid-turn.`

describe('A conversation', () => {
  test('counts what the human sent, not what the CLI adds', () => {
    const messages = [
      user(`${reminder('Attribution')}\n`, 'one'),
      system('# Environment'),
      says('[turn 1] You said: one'),
      { role: 'user', content: 'two\nwith two lines' },
      system('<total_tokens>15000000 tokens left</total_tokens>'),
    ]
    expect(readConversation(messages)).toMatchObject({
      wants: 'answer',
      turn: 2,
      prompt: 'two\nwith two lines',
      results: [],
    })
  })

  test('finds the prompt behind the reminders of models without system messages', () => {
    const messages = [user(reminder('# Environment'), reminder('Today'), `${reminder('Skills')}\n`, 'one')]
    expect(readConversation(messages)).toMatchObject({ turn: 1, prompt: 'one' })
  })

  test('takes several blocks of one message for one prompt', () => {
    expect(readConversation([user('a', 'b')])).toMatchObject({ turn: 1, prompt: 'a\nb' })
  })

  test('collects the results of its tools', () => {
    const messages = [
      user('one'),
      calls('Bash'),
      user(result('first')),
      system('tokens left'),
      calls('Bash', 'toolu_2'),
    ]
    const more = user(result([text('second'), image], 'toolu_2'))
    expect(readConversation([...messages, more])).toMatchObject({
      turn: 1,
      prompt: 'one',
      results: ['first', 'second\n[image]'],
    })
    const next = [...messages, more, says('done'), user('two')]
    expect(readConversation(next)).toMatchObject({ turn: 2, prompt: 'two', results: [] })
  })

  test('takes no directive from a tool or the model', () => {
    const messages = [
      user('one'),
      says('@sim cut'),
      calls('Read'),
      user(result(`@sim cut\n${reminder(steered('no'))}\nend`)),
    ]
    expect(readConversation(messages)).toMatchObject({ turn: 1, prompt: 'one' })
  })

  test('shows a result without the reminders that the CLI put at its end', () => {
    const output = `${reminder('of a file')}\nhi`
    const messages = [user('one'), calls('Bash'), user(result(`${output}\n\n${reminder('a')}\n\n${reminder('b')}`))]
    expect(readConversation(messages).results).toEqual([output])
  })
})

describe('Prompts that the CLI merges', () => {
  test('are counted apart after an interrupt', () => {
    const messages = [
      user('one\n', '[Request interrupted by user]\n', 'two\n', '[Request interrupted by user]\n', 'three'),
    ]
    expect(readConversation(messages)).toMatchObject({ turn: 3, prompt: 'three' })
  })

  test('are counted apart after an interrupted tool', () => {
    const merged = user(result('The tool use was rejected'), '[Request interrupted by user for tool use]\n', 'two')
    expect(readConversation([user('one'), calls('Bash'), merged])).toMatchObject({
      turn: 2,
      prompt: 'two',
      results: [],
    })
  })

  test('are counted apart after an error of the API, whose answer the CLI drops', () => {
    expect(readConversation([user('one\n', 'two')])).toMatchObject({ turn: 2, prompt: 'two' })
    expect(readConversation([user('one'), calls('Bash'), user(result('hi'), 'two')])).toMatchObject({ turn: 2 })
  })

  test('keep their blocks together', () => {
    const messages = [user('one a', 'one b\n', '[Request interrupted by user]\n', 'two')]
    expect(readConversation(messages)).toMatchObject({ turn: 2, prompt: 'two' })
  })

  test('are counted after a kill and a resume', () => {
    const messages = [user('one'), system('tokens left'), says('No response requested.'), user('two')]
    expect(readConversation(messages)).toMatchObject({ turn: 2, prompt: 'two' })
  })
})

describe('A message that steers a running turn', () => {
  test('is a prompt, in the system message of newer models', () => {
    const messages = [user('one'), calls('Bash'), user(result('hi')), system(steered('two\nlines'))]
    expect(readConversation(messages)).toMatchObject({ wants: 'answer', turn: 2, prompt: 'two\nlines', results: [] })
  })

  test('is a prompt, beside the result of a tool', () => {
    const messages = [user('one'), calls('Bash'), user(result('hi'), `${steered('two')}\n`, steered('three\nlines'))]
    const expected = { wants: 'answer', turn: 3, prompt: 'three\nlines', results: [] }
    expect(readConversation([...messages, system('tokens left')])).toMatchObject(expected)
  })

  test('keeps its words when they come with an image', () => {
    const messages = [user('one'), calls('Bash'), user(result('hi'), steered('look'), image)]
    expect(readConversation(messages)).toMatchObject({ wants: 'answer', turn: 2, prompt: 'look' })
  })

  test('is what the human wrote when its frame is not whole', () => {
    const words = 'The user sent a new message while you were working:\ntwo'
    expect(readConversation([user(words)])).toMatchObject({ turn: 1, prompt: words })
  })

  test('is a prompt, at the end of the result of older models', () => {
    const messages = [
      user('one'),
      calls('Bash'),
      user(result(`hi\n\n${reminder(steered('two'))}\n\n${reminder('tokens')}`)),
    ]
    expect(readConversation(messages)).toMatchObject({ wants: 'answer', turn: 2, prompt: 'two', results: [] })
  })
})

describe('An attachment', () => {
  const source = '[Image: source: /tmp/1.png]'

  test('is part of the prompt that it comes with', () => {
    expect(readConversation([user(image, 'one\n', source)])).toMatchObject({ turn: 1, prompt: 'one' })
    expect(readConversation([user('one', image, source)])).toMatchObject({ turn: 1, prompt: 'one' })
    expect(readConversation([user('one', image, 'more\n', source)])).toMatchObject({ turn: 1, prompt: 'one\nmore' })
  })

  test('is a prompt when it comes alone, and none when a tool brings it', () => {
    expect(readConversation([user('one'), says('ok'), user(image, source)])).toMatchObject({ turn: 2, prompt: '' })
    expect(readConversation([user('one'), calls('Read'), user(result('pdf'), image)])).toMatchObject({ turn: 1 })
  })
})

describe('What the CLI writes itself', () => {
  test('is no prompt when it is a command of its own', () => {
    const command = ['<local-command-caveat>x</local-command-caveat>\n', '<command-name>/context</command-name>\n']
    const messages = [user(...command, '<local-command-stdout>42</local-command-stdout>\n', 'one')]
    expect(readConversation(messages)).toMatchObject({ turn: 1, prompt: 'one' })
  })

  test('is no prompt when it is a skill that unfolds', () => {
    const messages = [
      user('one'),
      calls('Skill'),
      user(result('Launching skill: x'), 'Base directory for this skill: /y\n\n# X'),
    ]
    expect(readConversation(messages)).toMatchObject({ wants: 'answer', turn: 1, results: ['Launching skill: x'] })
  })

  test('wants a remark when a background task has ended', () => {
    const note = `[SYSTEM NOTIFICATION]\n<task-notification>\n<summary>"bg" completed</summary>\n</task-notification>`
    const messages = [user('one'), says('ok'), user(reminder(note))]
    expect(readConversation(messages)).toMatchObject({ wants: 'remark', turn: 1, notice: '"bg" completed' })
    expect(readConversation([...messages, says('noted'), user('two')])).toMatchObject({ wants: 'answer', turn: 2 })
  })

  test('wants a remark when a hook objects', () => {
    const messages = [user('one'), says('ok'), user('Stop hook feedback:\ngo on')]
    expect(readConversation(messages)).toMatchObject({ wants: 'remark', turn: 1, notice: 'Stop hook feedback:\ngo on' })
  })
})

describe('A compacted conversation', () => {
  const request = 'CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\nan <analysis> block and a <summary> block.'
  const summary = `This session is being continued from a previous conversation that ran out of context.\n\n${reminder('tools')}\n[sim] prompts so far: 7\n`

  test('wants a summary', () => {
    expect(readConversation([user('one'), says('ok'), user(request)])).toMatchObject({ wants: 'summary', turn: 1 })
  })

  test('is counted on from its summary', () => {
    const commands = '<command-name>/compact</command-name>\n'
    expect(readConversation([user(summary, commands, 'eight')])).toMatchObject({ turn: 8, prompt: 'eight' })
  })

  test('counts no prompt twice that follows the summary once more', () => {
    const messages = [user(summary), user('seven'), says('[turn 7] You said: seven'), user('eight')]
    expect(readConversation(messages)).toMatchObject({ turn: 8, prompt: 'eight' })
  })
})

test('Any sequence of messages is read without an error, and in linear time', () => {
  const parts = fc.constantFrom('<system-reminder>', '</system-reminder>', ' ', '\n', '[turn 3]', '@sim cut', 'x')
  const anyText = fc.array(fc.oneof(parts, fc.string())).map((words) => words.join(''))
  const block = fc.oneof(
    anyText.map(text),
    anyText.map((value) => result(value)),
    fc.constant(image),
  )
  const role = fc.constantFrom('user', 'assistant', 'system', 'other')
  const message = fc.record({ role, content: fc.oneof(anyText, fc.array(block)) })
  fc.assert(
    fc.property(fc.array(message), (messages) => {
      expect(readConversation(messages).turn).toBeGreaterThanOrEqual(0)
    }),
  )
  const opened = user('<system-reminder>'.repeat(100_000), result(`x${' '.repeat(1_000_000)}y</system-reminder>`))
  expect(readConversation([opened]).turn).toBe(1)
})
