import { execFile } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ConfigMap, Secret, Service } from 'kubernetes-models/v1'
import type { IContainer } from 'kubernetes-models/v1'
import { StatefulSet } from 'kubernetes-models/apps/v1'
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2'
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { expect, onTestFinished, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { planOf } from '../../src/cli/shared/serve-plan.ts'
import { loadConfig } from '../../src/config/load.ts'
import { parseDuration } from '../../src/units.ts'
import { temporaryFolder } from '../fixtures/temporary-folder.ts'

const PROJECT = join(import.meta.dirname, '..', '..')
const FOLDER = join(PROJECT, 'deploy', 'kubernetes')

const KINDS = {
  'v1 Secret': { model: Secret, module: 'v1', type: 'ISecret' },
  'v1 ConfigMap': { model: ConfigMap, module: 'v1', type: 'IConfigMap' },
  'v1 Service': { model: Service, module: 'v1', type: 'IService' },
  'apps/v1 StatefulSet': { model: StatefulSet, module: 'apps/v1', type: 'IStatefulSet' },
  'policy/v1 PodDisruptionBudget': { model: PodDisruptionBudget, module: 'policy/v1', type: 'IPodDisruptionBudget' },
  'networking.k8s.io/v1 NetworkPolicy': {
    model: NetworkPolicy,
    module: 'networking.k8s.io/v1',
    type: 'INetworkPolicy',
  },
  'autoscaling/v2 HorizontalPodAutoscaler': {
    model: HorizontalPodAutoscaler,
    module: 'autoscaling/v2',
    type: 'IHorizontalPodAutoscaler',
  },
} as const

interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string }
  [field: string]: unknown
}

const yaml = (path: string): unknown => parse(readFileSync(path, 'utf8'), { merge: true })

const { resources } = yaml(join(FOLDER, 'kustomization.yaml')) as { resources: string[] }

const manifests = resources.flatMap((file) =>
  parseAllDocuments(readFileSync(join(FOLDER, file), 'utf8')).map((document) => document.toJS() as Manifest),
)

const kindOf = ({ apiVersion, kind }: Manifest) => KINDS[`${apiVersion} ${kind}` as keyof typeof KINDS]

const named = <T>(kind: string, name = 'agents'): T =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name) as T

const stateful = named<ConstructorParameters<typeof StatefulSet>[0] & { spec: StatefulSet['spec'] }>('StatefulSet')
const pod = stateful.spec?.template.spec
const container = pod?.containers[0] as IContainer

test('The base of Kubernetes names each of its files, and each is valid by the schemas of Kubernetes', () => {
  expect(readdirSync(FOLDER).toSorted()).toEqual([...resources, 'kustomization.yaml'].toSorted())
  expect(new Set(manifests.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`))).toEqual(new Set(Object.keys(KINDS)))
  for (const manifest of manifests) new (kindOf(manifest).model)(manifest as never).validate()
})

/** What the compiler says of manifests as objects of their types. */
async function compiled(objects: readonly Manifest[]): Promise<string> {
  // Below the project, so that the package with the types is found.
  const cache = join(PROJECT, 'node_modules', '.cache')
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, 'manifests-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const lines = objects.map((manifest) => {
    const { module, type } = kindOf(manifest)
    return `void (${JSON.stringify(manifest)} satisfies import('kubernetes-models/${module}').${type})`
  })
  const path = join(folder, 'manifests.ts')
  await writeFile(path, `${lines.join('\n')}\nexport {}\n`)
  const options = ['--noEmit', '--skipLibCheck', '--strict', '--module', 'nodenext', '--ignoreConfig', path]
  const tsc = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc')
  return promisify(execFile)(process.execPath, [tsc, ...options]).then(
    () => '',
    ({ stdout, message }: Error & { stdout?: string }) => stdout ?? message,
  )
}

test('The compiler finds no misspelt field in them, and finds one that is', async () => {
  expect(await compiled(manifests)).toBe('')
  const misspelt = { ...manifests[0], stringDatas: {} } as unknown as Manifest
  expect(await compiled([misspelt])).toMatch(/stringDatas\W+ does not exist/)
})

test('The config of the pods is one that serve takes', async () => {
  const { data } = named<{ data: Record<string, string> }>('ConfigMap', 'agents-config')
  const [name = '', text = ''] = Object.entries(data)[0] ?? []
  const folder = await temporaryFolder()
  await writeFile(join(folder, name), text)
  const config = await loadConfig(join(folder, name), folder)
  const secret = 'x'.repeat(32)
  const flags = { host: '127.0.0.1', store: 'postgres://agents@db/agents' }
  const cluster = { ...(config.options['cluster' as never] as object), secret }
  const plan = planOf(flags, { ...config, options: { ...config.options, cluster } } as typeof config)
  const port = container.ports?.find((one) => one.name === 'peers')?.containerPort
  expect(text).toContain(`'0.0.0.0:${port ?? ''}'`)
  expect(text).toContain(`.${stateful.spec?.serviceName ?? ''}:${port ?? ''}`)
  const sleepMs = (container.lifecycle?.preStop?.sleep?.seconds ?? 0) * 1_000
  expect((pod?.terminationGracePeriodSeconds ?? 0) * 1_000).toBeGreaterThan(plan.graceMs + sleepMs)
  expect(container.args?.at(-1)).toBe(`/etc/agents/${name}`)
})

test('The autoscaler scales by figures that the rules of the adapter give', () => {
  const { rules } = yaml(join(PROJECT, 'deploy', 'prometheus', 'adapter.yaml')) as {
    rules: { seriesQuery: string; name?: { as: string } }[]
  }
  const { spec } = named<HorizontalPodAutoscaler>('HorizontalPodAutoscaler')
  const given = rules.map(({ seriesQuery, name }) => name?.as ?? seriesQuery.replace(/\{.*/, ''))
  expect(spec?.metrics?.map(({ pods }) => pods?.metric.name)).toEqual(given)
})

test('Services, budget, network and autoscaler are about the pods, by the same labels, ports and names', () => {
  const labels = stateful.spec?.template.metadata?.labels
  const ports = new Set(container.ports?.map(({ name }) => name))
  for (const name of ['agents', stateful.spec?.serviceName ?? '']) {
    const { spec } = named<Service>('Service', name)
    expect(spec?.selector).toEqual(labels)
    for (const { targetPort } of spec?.ports ?? []) expect(ports).toContain(targetPort)
  }
  expect(named<PodDisruptionBudget>('PodDisruptionBudget').spec?.selector?.matchLabels).toEqual(labels)
  expect(named<NetworkPolicy>('NetworkPolicy').spec?.podSelector?.matchLabels).toEqual(labels)
  expect(named<HorizontalPodAutoscaler>('HorizontalPodAutoscaler').spec?.scaleTargetRef).toMatchObject({
    kind: 'StatefulSet',
    name: stateful.metadata?.name,
  })
  const keys = Object.keys(named<Secret>('Secret').stringData ?? {})
  const used = container.env?.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef?.key ?? []) ?? []
  const mounted = pod?.volumes?.flatMap(({ secret }) => secret?.items?.map(({ key }) => key) ?? []) ?? []
  expect([...used, ...mounted].toSorted()).toEqual(keys.toSorted())
})

test('compose.cluster.yaml has three hosts with data of their own, a database, and a balancer that knows the hosts', async () => {
  const compose = yaml(join(PROJECT, 'deploy', 'compose.cluster.yaml')) as {
    services: Record<
      string,
      { hostname?: string; volumes?: string[]; stop_grace_period?: string; configs?: { source: string }[] }
    >
    configs: Record<string, { content: string }>
    volumes: Record<string, null>
  }
  const hosts = Object.entries(compose.services).filter(([, { hostname }]) => hostname !== undefined)
  expect(hosts.map(([name, { hostname }]) => [name, hostname])).toEqual(
    [1, 2, 3].map((number) => [`host-${number}`, `host-${number}`]),
  )
  const volumes = Object.values(compose.services).flatMap((service) => service.volumes ?? [])
  expect(new Set(volumes.map((volume) => volume.split(':')[0]))).toEqual(new Set(Object.keys(compose.volumes)))
  expect(volumes).toHaveLength(Object.keys(compose.volumes).length)
  for (const [name, { stop_grace_period: grace = '0s' }] of hosts) {
    expect(compose.configs['balancer']?.content).toContain(`server ${name} ${name}:8080`)
    expect(parseDuration('stop_grace_period', grace)).toBeGreaterThan(30_000)
  }
  const folder = await temporaryFolder()
  const path = join(folder, 'claude-agent-pool.config.mjs')
  await writeFile(path, compose.configs['agents']?.content.replaceAll('$$', '$') ?? '')
  expect((await loadConfig(path, folder)).options).toMatchObject({ cluster: { listen: '0.0.0.0:7070' } })
})
