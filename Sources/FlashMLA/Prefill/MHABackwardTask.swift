// SPDX-License-Identifier: MIT

internal import Kernels
internal import Tensors

/// The gradients of one part of a request's keys and one key head: owns its rows of dk and dv and its copy of dq.
///
/// For each tile of keys, all query tiles that see it: scores and weight gradients as two products, then three products
/// for dv, dk and dq.
struct MHABackwardTask {
    let tensors: MHAGradientTensors
    let scale: Float
    let rows: MHARows
    let keyHead: Int
    let keys: Range<Int>
    /// This part's query gradients [rows, width rounded up to 16].
    let partial: UnsafeMutablePointer<Float>
    let products: UnsafePointer<Float>
    let kernels: KernelTable
    let transfer: MHARowTransfer

    // Scratch.
    private let tile: Tile

    /// What the products read and write.
    private struct Tile {
        let limits: MHALimits
        let logSums: UnsafeMutablePointer<Float>
        let products: UnsafeMutablePointer<Float>
        let scores: UnsafeMutablePointer<Float>
        let gradients: UnsafeMutablePointer<Float>
        let queries: UnsafeMutablePointer<Float>
        let queryPanels: UnsafeMutablePointer<Float>
        let outGradients: UnsafeMutablePointer<Float>
        let outGradientPanels: UnsafeMutablePointer<Float>
        let decoded: UnsafeMutablePointer<Float>
        let keyColumns: UnsafeMutablePointer<Float>
        let keyRows: UnsafeMutablePointer<Float>
        let valueColumns: UnsafeMutablePointer<Float>
        let keyGradient: UnsafeMutablePointer<Float>
        let valueGradient: UnsafeMutablePointer<Float>
    }

    private var width: Int { tensors.queries.width }
    private var valueWidth: Int { tensors.values.width }
    private static var tileRows: Int { MHASchedule.tileRows }
    private static var tileKeys: Int { MHASchedule.tileKeys }

    init(
        tensors: MHAGradientTensors, scale: Float, rows: MHARows, keyHead: Int, keys: Range<Int>,
        partial: UnsafeMutablePointer<Float>, products: UnsafePointer<Float>, kernels: KernelTable,
        scratch: UnsafeMutablePointer<Float>
    ) {
        self.tensors = tensors
        self.scale = scale
        self.rows = rows
        self.keyHead = keyHead
        self.keys = keys
        self.partial = partial
        self.products = products
        self.kernels = kernels
        transfer = MHARowTransfer(kernels: kernels)
        var scratch = MHAScratch(scratch)
        let width = tensors.queries.width
        let valueWidth = tensors.values.width
        tile = Tile(
            limits: MHALimits(&scratch), logSums: scratch.take(Self.tileRows),
            products: scratch.take(Self.tileRows), scores: scratch.take(Self.tileRows * Self.tileKeys),
            gradients: scratch.take(Self.tileRows * Self.tileKeys),
            queries: scratch.take(Self.tileRows * mhaRowStride(width)),
            queryPanels: scratch.take(Self.tileRows * panelPadded(width)),
            outGradients: scratch.take(Self.tileRows * mhaRowStride(valueWidth)),
            outGradientPanels: scratch.take(Self.tileRows * panelPadded(valueWidth)),
            decoded: scratch.take(Self.tileKeys * max(width, valueWidth)),
            keyColumns: scratch.take(Self.tileKeys * width),
            keyRows: scratch.take(Self.tileKeys * panelPadded(width)),
            valueColumns: scratch.take(Self.tileKeys * valueWidth),
            keyGradient: scratch.take(Self.tileKeys * panelPadded(width)),
            valueGradient: scratch.take(Self.tileKeys * panelPadded(valueWidth)))
    }

    func run() {
        for first in stride(from: keys.lowerBound, to: keys.upperBound, by: Self.tileKeys) {
            let block = first..<min(first + Self.tileKeys, keys.upperBound)
            pack(block)
            tile.keyGradient.update(repeating: 0, count: block.count * panelPadded(width))
            tile.valueGradient.update(repeating: 0, count: block.count * panelPadded(valueWidth))
            let firstTile = rows.firstRow(seeing: first) / Self.tileRows * Self.tileRows
            for start in stride(from: firstTile, to: rows.rowCount, by: Self.tileRows) {
                accumulate(start..<min(start + Self.tileRows, rows.rowCount), block)
            }
            store(block)
        }
    }

    /// Packs the block's keys both ways, and its values.
    private func pack(_ block: Range<Int>) {
        let tokens = rows.firstKey + block.lowerBound..<rows.firstKey + block.upperBound
        transfer.load(tensors.keys, head: keyHead, tokens: tokens, to: tile.decoded)
        kernels.mha.packColumnPanels(tile.decoded, width, block.count, width, tile.keyColumns, 16 * width)
        kernels.mha.packRowPanels(tile.decoded, width, block.count, width, tile.keyRows, 16 * block.count)
        transfer.load(tensors.values, head: keyHead, tokens: tokens, to: tile.decoded)
        kernels.mha.packColumnPanels(
            tile.decoded, valueWidth, block.count, valueWidth, tile.valueColumns, 16 * valueWidth)
    }

    /// Adds what one tile of query rows contributes to the block's gradients and gets from them.
    private func accumulate(_ range: Range<Int>, _ block: Range<Int>) {
        gather(range)
        let isFull = tile.limits.set(rows, range: range, keys: block)
        let step = isFull ? range.count : MHASchedule.edgeRows
        for first in stride(from: 0, to: range.count, by: step) {
            multiplyScores(first..<min(first + step, range.count))
        }
        var gradient = MHAGradientArguments(
            scores: tile.scores, gradients: tile.gradients, stride: Self.tileKeys, rowCount: range.count,
            keyCount: block.count, limits: tile.limits.values, scale: scale, logSums: tile.logSums,
            products: tile.products)
        kernels.mha.gradient(&gradient)
        let keyStep = isFull ? block.count : MHASchedule.edgeRows
        for first in stride(from: 0, to: block.count, by: keyStep) {
            let part = first..<min(first + keyStep, block.count)
            let seen = max(0, rows.firstRow(seeing: block.lowerBound + part.lowerBound) - range.lowerBound)
            multiplyKeySide(part, fromRow: seen, rowCount: range.count)
        }
        let rowGradients = partial + range.lowerBound * panelPadded(width)
        for first in stride(from: 0, to: range.count, by: step) {
            multiplyQuerySide(
                first..<min(first + step, range.count), block: block, to: rowGradients)
        }
    }

    /// Gathers and packs the tile's queries and output gradients, with their statistics.
    private func gather(_ range: Range<Int>) {
        transfer.load(
            tensors.queries, rows: rows, keyHead: keyHead, range: range, to: tile.queries,
            stride: mhaRowStride(width))
        kernels.mha.packRowPanels(
            tile.queries, mhaRowStride(width), range.count, width, tile.queryPanels, 16 * range.count)
        transfer.load(
            tensors.outGradient, rows: rows, keyHead: keyHead, range: range, to: tile.outGradients,
            stride: mhaRowStride(valueWidth))
        kernels.mha.packRowPanels(
            tile.outGradients, mhaRowStride(valueWidth), range.count, valueWidth, tile.outGradientPanels,
            16 * range.count)
        for (index, row) in range.enumerated() {
            let token = rows.firstToken + row / rows.group
            let slot = (keyHead * rows.group + row % rows.group) * tensors.queries.tokenCount + token
            tile.logSums[index] = tensors.logSums[slot]
            tile.products[index] = products[slot]
        }
    }

    /// S = q kᵀ and dP = dout vᵀ for some of the tile's rows, with the keys that the last of them sees.
    private func multiplyScores(_ part: Range<Int>) {
        let panels = panelPadded(Int(tile.limits.values[part.upperBound - 1])) / 16
        var scores = PanelProductArguments(
            a: tile.queries + part.lowerBound * mhaRowStride(width), aRowStride: mhaRowStride(width),
            aStepStride: 1, b: tile.keyColumns, bPanelStride: 16 * width,
            out: tile.scores + part.lowerBound * Self.tileKeys, outStride: Self.tileKeys, rowCount: part.count,
            innerCount: width, panelCount: panels, accumulates: false)
        kernels.mha.panelProduct(&scores)
        var gradients = PanelProductArguments(
            a: tile.outGradients + part.lowerBound * mhaRowStride(valueWidth),
            aRowStride: mhaRowStride(valueWidth), aStepStride: 1, b: tile.valueColumns,
            bPanelStride: 16 * valueWidth, out: tile.gradients + part.lowerBound * Self.tileKeys,
            outStride: Self.tileKeys, rowCount: part.count, innerCount: valueWidth, panelCount: panels,
            accumulates: false)
        kernels.mha.panelProduct(&gradients)
    }

    /// dv += Pᵀ dout and dk += dSᵀ q for some of the block's keys, over the rows from `fromRow` on.
    private func multiplyKeySide(_ part: Range<Int>, fromRow: Int, rowCount: Int) {
        guard fromRow < rowCount else { return }
        let offset = fromRow * Self.tileKeys + part.lowerBound
        var values = PanelProductArguments(
            a: tile.scores + offset, aRowStride: 1, aStepStride: Self.tileKeys,
            b: tile.outGradientPanels + 16 * fromRow, bPanelStride: 16 * rowCount,
            out: tile.valueGradient + part.lowerBound * panelPadded(valueWidth),
            outStride: panelPadded(valueWidth), rowCount: part.count, innerCount: rowCount - fromRow,
            panelCount: panelPadded(valueWidth) / 16, accumulates: true)
        kernels.mha.panelProduct(&values)
        var keys = PanelProductArguments(
            a: tile.gradients + offset, aRowStride: 1, aStepStride: Self.tileKeys,
            b: tile.queryPanels + 16 * fromRow, bPanelStride: 16 * rowCount,
            out: tile.keyGradient + part.lowerBound * panelPadded(width), outStride: panelPadded(width),
            rowCount: part.count, innerCount: rowCount - fromRow, panelCount: panelPadded(width) / 16,
            accumulates: true)
        kernels.mha.panelProduct(&keys)
    }

    /// dq += dS k for some of the tile's rows; the part's first block sets instead of adding.
    private func multiplyQuerySide(
        _ part: Range<Int>, block: Range<Int>, to target: UnsafeMutablePointer<Float>
    ) {
        var product = PanelProductArguments(
            a: tile.gradients + part.lowerBound * Self.tileKeys, aRowStride: Self.tileKeys, aStepStride: 1,
            b: tile.keyRows, bPanelStride: 16 * block.count,
            out: target + part.lowerBound * panelPadded(width), outStride: panelPadded(width),
            rowCount: part.count, innerCount: Int(tile.limits.values[part.upperBound - 1]),
            panelCount: panelPadded(width) / 16, accumulates: block.lowerBound > keys.lowerBound)
        kernels.mha.panelProduct(&product)
    }

    /// Writes the block's gradients of keys and values.
    private func store(_ block: Range<Int>) {
        for index in 0..<block.count {
            let token = rows.firstKey + block.lowerBound + index
            transfer.store(
                tile.keyGradient + index * panelPadded(width), tensors.keyGradient, token: token, head: keyHead)
            transfer.store(
                tile.valueGradient + index * panelPadded(valueWidth), tensors.valueGradient, token: token,
                head: keyHead)
        }
    }
}
