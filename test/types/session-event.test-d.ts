import type { BetaManagedAgentsSessionEvent } from '@anthropic-ai/sdk/resources/beta/sessions'
import { expectTypeOf, test } from 'vitest'
import type { SessionEvent } from '../../src/index.ts'

/** What an event has that its type here leaves open, for content that the pool passes on. */
type Open = 'content' | 'usage' | 'agent' | 'budget'

type Closed<Event> = Event extends unknown ? Omit<Event, Open> : never

test('Every event is one of Anthropic’s Managed Agents API', () => {
  expectTypeOf<Closed<SessionEvent>>().toExtend<Closed<BetaManagedAgentsSessionEvent>>()
  expectTypeOf<SessionEvent['type']>().toExtend<BetaManagedAgentsSessionEvent['type']>()
})
