import { globSync, readFileSync } from 'node:fs'
import { parseSync, Visitor } from 'oxc-parser'

/** One token of a source file, and what stands in its place. */
export interface Fault {
  file: string
  line: number
  start: number
  end: number
  before: string
  after: string
  /** The line of source that holds it. */
  source: string
  /** The expression that is evaluated when the fault is reached. */
  reached: Span
}

/** What real processes and compiled commands test: unit and model tests do not answer for these. */
const TESTED_BY_PROCESSES = ['src/cli/', 'src/process/', 'src/driver/claude.ts', 'src/server/listen.ts']

/** Every source file that unit and model tests answer for. */
export const sourceFiles = (): string[] =>
  globSync('src/**/*.ts')
    .filter((file) => !TESTED_BY_PROCESSES.some((prefix) => file.startsWith(prefix)))
    .toSorted()

const OPERATORS: Readonly<Record<string, string>> = {
  '<': '<=',
  '<=': '<',
  '>': '>=',
  '>=': '>',
  '===': '!==',
  '!==': '===',
  '+': '-',
  '-': '+',
  '*': '/',
  '/': '*',
  '&&': '||',
  '||': '&&',
  '+=': '-=',
  '-=': '+=',
  '++': '--',
  '--': '++',
}
const METHODS: Readonly<Record<string, string>> = {
  push: 'unshift',
  unshift: 'push',
  shift: 'pop',
  pop: 'shift',
  min: 'max',
  max: 'min',
  floor: 'ceil',
  ceil: 'floor',
  some: 'every',
  every: 'some',
  startsWith: 'endsWith',
  endsWith: 'startsWith',
}

export interface Span {
  start: number
  end: number
}

/** Every one-token fault that can be made in a file. */
export function faultsOf(file: string): Fault[] {
  const text = readFileSync(file, 'utf8')
  const faults: Fault[] = []
  const add = ({ start: from, end }: Span, start: number, before: string, after: string): void => {
    const lineStart = text.lastIndexOf('\n', start) + 1
    const lineEnd = text.indexOf('\n', start)
    const line = text.slice(0, start).split('\n').length
    faults.push({
      file,
      line,
      start,
      end: start + before.length,
      before,
      after,
      source: text.slice(lineStart, lineEnd).trim(),
      reached: { start: from, end },
    })
  }
  const operator = (node: Span, left: Span, sign: string): void => {
    const after = OPERATORS[sign]
    if (after !== undefined) add(node, text.indexOf(sign, left.end), sign, after)
  }
  /** Where literals of types end: only the compiler reads them. */
  const types = new Set<number>()
  const visitor = new Visitor({
    TSLiteralType: ({ end }) => void types.add(end),
    BinaryExpression: (node) => operator(node, node.left, node.operator),
    LogicalExpression: (node) => operator(node, node.left, node.operator),
    AssignmentExpression: (node) => operator(node, node.left, node.operator),
    UpdateExpression: (node) => {
      const after = OPERATORS[node.operator]
      if (after !== undefined) add(node, node.prefix ? node.start : node.end - 2, node.operator, after)
    },
    UnaryExpression: (node) => {
      if (node.operator === '!') add(node, node.start, '!', '')
    },
    Literal: (node) => {
      if (types.has(node.end)) return
      if (node.value === true || node.value === false) add(node, node.start, String(node.value), String(!node.value))
      else if (node.raw === '0' || node.raw === '1') add(node, node.start, node.raw, node.raw === '0' ? '1' : '0')
    },
    MemberExpression: ({ object, computed, property }) => {
      if (computed || property.type !== 'Identifier') return
      const after = METHODS[property.name]
      if (after !== undefined) add(object, property.start, property.name, after)
    },
  })
  const { program, errors } = parseSync(file, text)
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`)
  visitor.visit(program)
  return faults
}
