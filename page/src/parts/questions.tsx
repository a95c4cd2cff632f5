import { useState } from 'preact/hooks'
import type { OpenQuestion } from '../../../src/server/page/wire.ts'
import { duration } from '../format.ts'
import { now, sections } from '../state.ts'
import { act } from './dialog.tsx'

/** What the agent of a session waits for, answered where it stands. */
export function Questions({ tenant, name }: { tenant: string; name: string }) {
  const { questions = [] } = sections.session.value
  return (
    <div class="questions" aria-live="assertive">
      {questions.map((question) => (
        <Question key={question.id} question={question} tenant={tenant} name={name} />
      ))}
    </div>
  )
}

function Question({ question, tenant, name: key }: { question: OpenQuestion; tenant: string; name: string }) {
  const { id, kind, message, tool, expiresAt, schema } = question
  const [content, setContent] = useState<Record<string, string>>({})
  const answer = (allow: boolean): void => {
    const given: Record<string, unknown> = kind === 'question' ? { answers: content } : content
    const carries = allow && schema !== undefined
    void act({ do: 'answer', tenant, key, id, allow, ...(carries ? { content: given } : {}) })
  }
  return (
    <section class="question" aria-label="The agent asks">
      <h3>{message}</h3>
      {tool !== undefined && kind === 'permission' && <pre>{JSON.stringify(tool.input, null, 2)}</pre>}
      {fieldsOf(question).map((field) => (
        <label key={field.name}>
          {field.says}
          <input
            list={`${id}-${field.name}`}
            value={content[field.name] ?? ''}
            onInput={({ currentTarget }) => setContent({ ...content, [field.name]: currentTarget.value })}
          />
          <datalist id={`${id}-${field.name}`}>
            {field.choices.map((choice) => (
              <option key={choice} value={choice} />
            ))}
          </datalist>
        </label>
      ))}
      <div class="buttons">
        <button type="button" class="primary" onClick={() => answer(true)}>
          {kind === 'permission' ? 'Allow' : 'Answer'}
        </button>
        <button type="button" onClick={() => answer(false)}>
          Deny
        </button>
        <span class="quiet">a no in {duration(Math.max(0, expiresAt - now.value))}</span>
      </div>
    </section>
  )
}

interface Field {
  name: string
  says: string
  choices: string[]
}

/** What can be filled in: the questions of `AskUserQuestion`, or the fields of an elicitation. */
function fieldsOf({ kind, tool, schema }: OpenQuestion): Field[] {
  if (kind === 'question') {
    const asked = (tool?.input['questions'] ?? []) as { question: string; options?: { label: string }[] }[]
    return asked.map(({ question, options = [] }) => ({
      name: question,
      says: question,
      choices: options.map(({ label }) => label),
    }))
  }
  if (kind !== 'elicitation') return []
  const properties = (schema?.['properties'] ?? {}) as Record<
    string,
    { title?: string; description?: string; enum?: string[] }
  >
  return Object.entries(properties).map(([name, { title, description, enum: choices = [] }]) => ({
    name,
    says: title ?? description ?? name,
    choices,
  }))
}
