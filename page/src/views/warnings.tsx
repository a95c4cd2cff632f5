import { dateAndTime } from '../format.ts'
import { sections, sessionHref } from '../state.ts'

export function Warnings() {
  const notices = Object.entries(sections.notices.value)
    .toSorted(([a], [b]) => Number(b) - Number(a))
    .flatMap(([number, notice]) => (notice === undefined ? [] : [{ number, ...notice }]))
  return (
    <>
      <header class="head">
        <h1>Warnings</h1>
      </header>
      <p class="quiet lead">The last 200 since this server started, newest first. The log has all of them.</p>
      {notices.length === 0 && <p class="empty quiet">Nothing went wrong.</p>}
      <ol class="notices">
        {notices.map(({ number, at, level, what, detail, session, worker }) => (
          <li key={number} class={level}>
            <p>
              <b>{what}</b>{' '}
              {session !== undefined && (
                <a href={sessionHref(session.tenant, session.key)}>
                  {session.tenant === 'default' ? '' : `${session.tenant}/`}
                  {session.key}
                </a>
              )}
            </p>
            {detail !== undefined && <p class="detail">{detail}</p>}
            <p class="quiet">
              {dateAndTime(at)}
              {worker !== undefined && (
                <>
                  {' '}
                  · worker <code>{worker}</code>
                </>
              )}
            </p>
          </li>
        ))}
      </ol>
    </>
  )
}
