/**
 * Options that have another name now: from the old path to the new one. `*` stands for a name, such as that of an agent, and
 * means the same one on both sides. No row is ever removed.
 */
export const RENAMED: Readonly<Record<string, string>> = {
  'agents.*.claimableSpares': 'agents.*.unboundSpares',
  'agents.*.limits.silence': 'agents.*.limits.inactivityTimeout',
  'agents.*.limits.silenceMs': 'agents.*.limits.inactivityTimeoutMs',
  'agents.*.limits.turnTime': 'agents.*.limits.turnTimeout',
  'agents.*.limits.turnTimeMs': 'agents.*.limits.turnTimeoutMs',
  'limits.silence': 'limits.inactivityTimeout',
  'limits.silenceMs': 'limits.inactivityTimeoutMs',
  'limits.transcript': 'limits.resumeSize',
  'limits.transcriptBytes': 'limits.resumeSizeBytes',
  'limits.turnTime': 'limits.turnTimeout',
  'limits.turnTimeMs': 'limits.turnTimeoutMs',
  'options.claimableSpares': 'options.unboundSpares',
  'options.limits.silence': 'options.limits.inactivityTimeout',
  'options.limits.silenceMs': 'options.limits.inactivityTimeoutMs',
  'options.limits.turnTime': 'options.limits.turnTimeout',
  'options.limits.turnTimeMs': 'options.limits.turnTimeoutMs',
}
