import { expect, test } from 'vitest'
import { wireEvent } from '../../../../../src/server/managed-agents/sessions/wire-event.ts'

test.each([
  ['the SDK’s ids', { type: 'agent.message', id: 'e', content: [], sdk: { message_id: 'm' } }],
  [
    'the SDK’s ids of a call',
    { type: 'agent.custom_tool_use', id: 'e', name: 'n', input: {}, sdk: { tool_use_id: 't' } },
  ],
  ['what a sender keeps with a prompt', { type: 'user.message', id: 'e', content: [], metadata: { ag_ui: {} } }],
])('an event shows nothing of %s', (_what, event) => {
  const { sdk: _sdk, metadata: _metadata, ...rest } = event as typeof event & { sdk?: unknown; metadata?: unknown }
  expect(wireEvent(event)).toEqual(rest)
})

test('the metadata of a session is shown', () => {
  const event = { type: 'session.updated', id: 'e', metadata: { a: '1' } }
  expect(wireEvent(event)).toEqual(event)
})
