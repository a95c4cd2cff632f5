import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { secretsIn } from '../../../../src/cli/shared/secrets.ts'

test('variables whose names say so are secrets, unless they are empty', () => {
  const env = {
    CLAUDE_AGENT_POOL_API_KEYS: 'a=b',
    ANTHROPIC_API_KEY: 'x',
    ANTHROPIC_AUTH_TOKEN: 'x',
    CLAUDE_CODE_OAUTH_TOKEN: 'x',
    AWS_SECRET_ACCESS_KEY: 'x',
    AWS_SESSION_TOKEN: 'x',
    AWS_BEARER_TOKEN_BEDROCK: 'x',
    AZURE_CLIENT_SECRET: 'x',
    PGPASSWORD_FILE: 'x',
    PATH: '/bin',
    KEYBOARD: 'de',
    OTHER_KEY: '',
  }
  expect(secretsIn(env)).toEqual([
    'CLAUDE_AGENT_POOL_API_KEYS',
    'ANTHROPIC_API_KEY',
    'ANTHROPIC_AUTH_TOKEN',
    'CLAUDE_CODE_OAUTH_TOKEN',
    'AWS_SECRET_ACCESS_KEY',
    'AWS_SESSION_TOKEN',
    'AWS_BEARER_TOKEN_BEDROCK',
    'AZURE_CLIENT_SECRET',
  ])
})

test('passwords of databases and proxies are secrets: in variables of libpq, and in any URL', () => {
  const env = {
    CLAUDE_AGENT_POOL_STORE: 'postgres://user:p%40ss@db/agents',
    DATABASE_URL: 'postgresql://user@db/agents?password=x',
    HTTPS_PROXY: 'http://user:x@proxy:3128',
    PGPASSWORD: 'x',
    PGHOST: 'db',
    WITHOUT: 'postgres://user@db:5432/agents',
    PLAIN: 'http://proxy:3128/a:b@c',
  }
  expect(secretsIn(env)).toEqual(['CLAUDE_AGENT_POOL_STORE', 'DATABASE_URL', 'HTTPS_PROXY', 'PGPASSWORD'])
})

test.runIf(process.platform === 'linux')(
  'a parent that shows the same secrets is found, and one that does not is none',
  async () => {
    const file = fileURLToPath(new URL('../../../../src/cli/shared/secrets.ts', import.meta.url))
    const program = `import { revealingParents } from ${JSON.stringify(file)}; console.log(JSON.stringify(revealingParents()))`
    // The shell stays because it has something left to do.
    const { stdout } = await promisify(execFile)('sh', ['-c', '"$NODE" --input-type=module -e "$PROGRAM"; :'], {
      env: {
        PATH: '/usr/bin:/bin',
        NODE: process.execPath,
        PROGRAM: program,
        SOME_API_KEY: 'value',
        NODE_NO_WARNINGS: '1',
      },
    })
    expect(JSON.parse(stdout)).toEqual([{ pid: expect.any(Number), command: 'sh', names: ['SOME_API_KEY'] }])
  },
)
