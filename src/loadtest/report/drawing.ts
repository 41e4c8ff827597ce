import {LineChart, SankeyChart} from 'echarts/charts'
import {GridComponent, MarkAreaComponent, MarkLineComponent} from 'echarts/components'
import {type EChartsCoreOption, init, use} from 'echarts/core'
import {SVGRenderer} from 'echarts/renderers'
import {escaped} from '../../verify/report.ts'
import type {Line} from '../result.ts'

use([LineChart, SankeyChart, GridComponent, MarkAreaComponent, MarkLineComponent, SVGRenderer])

type Size = {readonly width: number; readonly height: number}

/** Drawn without a browser. It scales with its place, and takes its colours from the page. */
const svgOf = (option: EChartsCoreOption, {width, height}: Size, label: string): string => {
  const chart = init(null, null, {renderer: 'svg', ssr: true, width, height})
  try {
    chart.setOption({animation: false, textStyle: {fontFamily: 'system-ui,sans-serif', color: 'var(--soft)'}, ...option})
    return (
      chart
        .renderToSVGString()
        .replace(/^<svg [^>]*>/, `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(label)}">`)
        // what only a pointer would see
        .replaceAll(/ (?:ecmeta_\w+|class)="[^"]*"|<style[^>]*>[\s\S]*?<\/style>/g, '')
    )
  } finally {
    chart.dispose()
  }
}

/** Lines over time. */
export type Plot = {
  readonly title: string
  /** The moments, in seconds of the window: negative in the warm-up. */
  readonly seconds: readonly number[]
  readonly lines: readonly (Line & {readonly colour: string; readonly isDashed: boolean})[]
  readonly window: {readonly from: number; readonly to: number}
  /** Numbered moments; their words stand below the plots. */
  readonly marks: readonly number[]
  /** How a value is written at the axis. */
  readonly tick: (value: number) => string
  /** Moments stand for themselves: dots instead of lines. */
  readonly isDotted: boolean
}

const plotSize: Size = {width: 560, height: 230}

/** Of marks that are close together the first has its number. */
const numbered = (marks: readonly number[], seconds: readonly number[]): readonly {xAxis: number; label: {formatter: string}}[] => {
  const apart = ((seconds.at(-1) ?? 0) - (seconds[0] ?? 0)) / 30
  let last = Number.NEGATIVE_INFINITY
  return marks.map((second, index) => {
    const isApart = second - last > apart
    if (isApart) last = second
    return {xAxis: second, label: {formatter: isApart ? String(index + 1) : ''}}
  })
}

export const plotSvg = ({title, seconds, lines, window, marks, tick, isDotted}: Plot): string => {
  const soft = {color: 'var(--soft)', fontSize: 12}
  const background = {
    type: 'line',
    silent: true,
    data: [],
    markArea: {data: [[{xAxis: window.from}, {xAxis: window.to}]], itemStyle: {color: 'var(--work)', opacity: 1}},
    markLine: {
      symbol: 'none',
      data: numbered(marks, seconds),
      lineStyle: {color: 'var(--soft)', type: 'dashed', width: 1},
      label: {...soft, position: 'end', distance: 3},
    },
  }
  const option = {
    grid: {left: 62, right: 14, top: 22, bottom: 26},
    xAxis: {
      type: 'value',
      min: seconds[0] ?? 0,
      max: seconds.at(-1) ?? 1,
      axisLabel: {...soft, formatter: (second: number) => `${second} s`, showMinLabel: false, showMaxLabel: false, hideOverlap: true},
      axisLine: {onZero: false, lineStyle: {color: 'var(--line)'}},
      axisTick: {lineStyle: {color: 'var(--line)'}},
      splitLine: {show: false},
    },
    yAxis: {
      type: 'value',
      min: 0,
      splitNumber: 4,
      axisLine: {show: false},
      axisTick: {show: false},
      axisLabel: {...soft, formatter: tick},
      splitLine: {lineStyle: {color: 'var(--line)'}},
    },
    series: [
      background,
      ...lines.map(({name, values, colour, isDashed}) => ({
        type: 'line',
        name,
        silent: true,
        data: values.map((value, index) => [seconds[index] ?? 0, value]),
        showSymbol: isDotted,
        symbol: 'circle',
        symbolSize: 4,
        connectNulls: false,
        itemStyle: {color: colour},
        lineStyle: {color: colour, width: isDotted ? 0 : 1.75, type: isDashed ? 'dashed' : 'solid'},
      })),
    ],
  }
  return svgOf(option, plotSize, title)
}

/** Where items went: the width of a band is how many. */
export type Flow = {
  readonly title: string
  readonly nodes: readonly {readonly id: string; readonly label: string; readonly colour: string; readonly isLoss: boolean}[]
  readonly bands: readonly {readonly from: string; readonly to: string; readonly items: number; readonly colour: string}[]
}

/** In lines of about this many characters. */
const wrapped = (text: string, length = 28): string =>
  text.replaceAll(new RegExp(String.raw`(.{1,${length}})(?: +|\n|$)`, 'g'), '$1\n').trimEnd()

export const flowSvg = ({title, nodes, bands}: Flow): string => {
  const labels = new Map(nodes.map(({id, label}) => [id, wrapped(label)]))
  const losses = nodes.filter(({isLoss}) => isLoss)
  // a loss has more words than width
  const size = {width: 1100, height: 340 + 40 * losses.length}
  const option = {
    series: [
      {
        type: 'sankey',
        silent: true,
        left: 6,
        right: 210,
        top: 12,
        bottom: 22,
        nodeWidth: 10,
        nodeGap: losses.length > 0 ? 48 : 26,
        nodeAlign: 'left',
        draggable: false,
        label: {
          color: 'var(--text)',
          fontSize: 12,
          lineHeight: 15,
          formatter: ({name}: {name: string}) => labels.get(name) ?? name,
        },
        data: nodes.map(({id, colour, isLoss}) => ({
          name: id,
          itemStyle: {color: colour, borderColor: colour, borderWidth: isLoss ? 2 : 0},
          ...(isLoss && {label: {color: colour}}),
        })),
        links: bands.map(({from, to, items, colour}) => ({
          source: from,
          target: to,
          value: items,
          lineStyle: {color: colour, opacity: losses.some(({id}) => id === to) ? 0.8 : 0.35, curveness: 0.5},
        })),
      },
    ],
  }
  return svgOf(option, size, title)
}
