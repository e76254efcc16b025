// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
public import Platform
internal import Tensors

/// What `multiHeadAttention` took and made, and where its gradients go: the arguments of
/// `multiHeadAttentionGradients`.
public struct MHAGradientTensors {
    /// The loss's gradient by `out`: [query tokens, heads, value width].
    public var outGradient: MHATensor
    public var queries: MHATensor
    public var keys: MHATensor
    public var values: MHATensor
    /// The forward results.
    public var out: MHATensor
    /// [heads, query tokens].
    public var logSums: UnsafeBufferPointer<Float>
    /// Results, shaped as queries, keys and values; must not overlap any input.
    public var queryGradient: MHATensor
    public var keyGradient: MHATensor
    public var valueGradient: MHATensor

    public init(
        outGradient: MHATensor, queries: MHATensor, keys: MHATensor, values: MHATensor, out: MHATensor,
        logSums: UnsafeBufferPointer<Float>, queryGradient: MHATensor, keyGradient: MHATensor,
        valueGradient: MHATensor
    ) {
        self.outGradient = outGradient
        self.queries = queries
        self.keys = keys
        self.values = values
        self.out = out
        self.logSums = logSums
        self.queryGradient = queryGradient
        self.keyGradient = keyGradient
        self.valueGradient = valueGradient
    }
}

/// The gradients of `multiHeadAttention` by queries, keys and values.
///
/// With P = e^(scale · q·k − lse) on visible pairs and D = Σ dout · out of each query and head:
///
///     dv = Pᵀ dout,  dS = P ∘ (dout vᵀ − D),  dq = scale · dS k,  dk = scale · dSᵀ q
///
/// Where query heads share a key head, its gradients are the sums over them. The log-sums themselves are taken to have
/// no gradient, as in the original. No two tasks write the same number and nothing is added atomically: the same
/// inputs give the same bits on any number of threads.
///
/// Memory beyond the arguments: the context's scratch; floats for the query gradients, width rounded up to 16, once
/// for each of at most eight parts that a request's keys are cut into (one, where there is enough else to do); one
/// float for each query and head; 80 bytes for each part and 24 for each request.
///
/// - Throws: `usage` as `multiHeadAttention`; `unavailable` if there is no memory. Nothing is written then.
public func multiHeadAttentionGradients(
    _ tensors: MHAGradientTensors, problem: MHAProblem, on context: ComputeContext
) throws(FathomError) {
    try check(tensors, problem)
    let group = tensors.queries.headCount / tensors.keys.headCount
    let keyHeads = tensors.keys.headCount
    let (parts, rowCount) = MHASchedule.keyParts(problem, group: group, keyHeads: keyHeads)
    let width = panelPadded(tensors.queries.width)
    let partial = try AlignedBuffer<Float>(count: rowCount * width, purpose: "partial query gradients")
    let products = try AlignedBuffer<Float>(
        count: tensors.queries.tokenCount * tensors.queries.headCount, purpose: "row products of the gradient")
    let passes = MHABackwardPasses(
        tensors: tensors, problem: problem, parts: parts, partial: partial.baseAddress,
        products: products.baseAddress, context: context)
    passes.multiplyRows()
    passes.differentiate()
    passes.sumQueryGradients()
    // SAFETY: the passes hold the buffers' addresses only.
    withExtendedLifetime((partial, products)) {}
}

private func check(_ t: MHAGradientTensors, _ problem: MHAProblem) throws(FathomError) {
    try MHARule.check(queries: t.queries, keys: t.keys, values: t.values)
    try MHARule.check(problem, queries: t.queries, keys: t.keys)
    try MHARule.check(t.out, "out", like: t.queries, "the queries", width: t.values.width, written: false)
    try MHARule.check(
        t.outGradient, "outGradient", like: t.queries, "the queries", width: t.values.width, written: false)
    try MHARule.check(logSums: t.logSums.count, queries: t.queries)
    try MHARule.check(
        t.queryGradient, "queryGradient", like: t.queries, "the queries", width: t.queries.width, written: true)
    try MHARule.check(t.keyGradient, "keyGradient", like: t.keys, "the keys", width: t.keys.width, written: true)
    try MHARule.check(
        t.valueGradient, "valueGradient", like: t.values, "the values", width: t.values.width, written: true)
}

/// The three passes of the gradient.
private struct MHABackwardPasses {
    let tensors: MHAGradientTensors
    let problem: MHAProblem
    let parts: [[MHASchedule.KeyPart]]
    let partial: UnsafeMutablePointer<Float>
    let products: UnsafeMutablePointer<Float>
    let context: ComputeContext

    private var keyHeads: Int { tensors.keys.headCount }
    private var group: Int { tensors.queries.headCount / keyHeads }

    /// D = Σ dout · out of each row, laid out as the log-sums.
    func multiplyRows() {
        let tokens = tensors.queries.tokenCount
        let heads = tensors.queries.headCount
        let width = tensors.values.width
        let run = 64
        let transfer = MHARowTransfer(kernels: context.kernels)
        MHASchedule.run((tokens + run - 1) / run, on: context.team) { index, worker in
            let a = context.scratch(of: worker)
            let b = a + panelPadded(width)
            for token in index * run..<min((index + 1) * run, tokens) {
                for head in 0..<heads {
                    transfer.load(tensors.outGradient, token: token, head: head, to: a)
                    transfer.load(tensors.out, token: token, head: head, to: b)
                    products[head * tokens + token] = context.kernels.mha.rowDot(a, b, width)
                }
            }
        }
    }

    /// Gradients of keys and values, and each part's of the queries.
    func differentiate() {
        let ordered = parts.joined().sorted { work($0) > work($1) }
        MHASchedule.run(ordered.count * keyHeads, on: context.team) { index, worker in
            let part = ordered[index / keyHeads]
            let keyHead = index % keyHeads
            let rows = MHARows(problem, request: part.request, group: group)
            let task = MHABackwardTask(
                tensors: tensors, scale: problem.scale, rows: rows, keyHead: keyHead, keys: part.keys,
                partial: partialRows(part, rows, keyHead), products: products, kernels: context.kernels,
                scratch: context.scratch(of: worker))
            task.run()
        }
    }

    /// The sum of the parts, in ascending order.
    func sumQueryGradients() {
        let tiles = MHARowTiles(problem, group: group, keyHeads: keyHeads, tileRows: MHASchedule.tileRows)
        let width = panelPadded(tensors.queries.width)
        let transfer = MHARowTransfer(kernels: context.kernels)
        MHASchedule.run(tiles.count, on: context.team) { index, worker in
            let tile = tiles[index]
            let keyHead = tile.keyHead
            let rows = MHARows(problem, request: tile.request, group: group)
            let seen = rows.limit(tile.rows.upperBound - 1)
            // A part whose first key the tile's last row does not see left the tile's rows as they were.
            let sources = parts[tile.request].filter { $0.keys.lowerBound < seen }
            let sum = context.scratch(of: worker)
            for row in tile.rows {
                sum.update(repeating: 0, count: width)
                for part in sources {
                    let source = partialRows(part, rows, keyHead) + row * width
                    context.kernels.addScaled(source, 1, sum, width)
                }
                transfer.store(
                    sum, tensors.queryGradient, token: rows.firstToken + row / group,
                    head: keyHead * group + row % group)
            }
        }
    }

    private func work(_ part: MHASchedule.KeyPart) -> Int {
        MHARows(problem, request: part.request, group: group).visiblePairs(keys: part.keys)
    }

    /// Where a part's query gradients of one key head begin.
    private func partialRows(
        _ part: MHASchedule.KeyPart, _ rows: MHARows, _ keyHead: Int
    ) -> UnsafeMutablePointer<Float> {
        partial + (part.firstGradientRow + keyHead * rows.rowCount) * panelPadded(tensors.queries.width)
    }
}
