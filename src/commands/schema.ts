import {LkeobsCommand} from '../command.ts'

export default class Schema extends LkeobsCommand {
  static override summary = 'Print the JSON Schema of the fleet file.'
  static override description = 'Editors complete and check lkeobs.yaml with it.'
  static override examples = ['<%= config.bin %> schema > lkeobs.schema.json']

  async run(): Promise<void> {
    await this.parse(Schema)
    const {fleetJsonSchema} = await import('../fleet/schema.ts')
    const fleet = fleetJsonSchema()
    this.result('lkeobs/schema/v1', {fleet}, JSON.stringify(fleet, undefined, 2))
  }
}
