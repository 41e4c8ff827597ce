#!/usr/bin/env node
import {execute, settings} from '@oclif/core'
import {sources} from '../scripts/sources.ts'

// Node strips the types itself; oclif's own transpiling needs an older TypeScript
settings.enableAutoTranspile = false
await execute({loadOptions: sources})
