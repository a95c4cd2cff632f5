/**
 * Options that have another name now: from the old path to the new one. `*` stands for a name, such as that of an agent, and
 * means the same one on both sides: `'agents.*.limits.silence': 'agents.*.limits.inactivityTimeout'`. No row is ever removed.
 */
export const RENAMED: Readonly<Record<string, string>> = {}
