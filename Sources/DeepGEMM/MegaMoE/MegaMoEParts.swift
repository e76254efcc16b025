// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Platform
internal import Tensors
internal import Workers

// SAFETY: In this file buffers are made for as many rows as there are choices, none of which is empty, and live as long
// as the parts; each task writes rows or tokens of its own.

/// A layer of experts made of its parts, each of which writes all that it makes: what `megaMoE` is measured against.
struct MegaMoEParts {
    private let layer: MegaMoEBenchmarkLayer
    private let form: MegaMoEOptions.Intermediate
    private let ids: AlignedBuffer<Int32>
    /// The token of each row, and its weight.
    private let tokens: [Int]
    private let weights: [Float]
    /// The row of each choice.
    private let rowOfChoice: [Int]
    private let x: AlignedBuffer<UInt8>
    private let scales: AlignedBuffer<UInt8>
    private let u: AlignedBuffer<UInt16>
    private let between: AlignedBuffer<UInt8>
    private let made: AlignedBuffer<UInt16>

    init(_ layer: MegaMoEBenchmarkLayer, on context: ComputeContext) throws(FathomError) {
        self.layer = layer
        form = MegaMoEOptions().form(of: layer.weights)
        let shape = layer.shape
        let choices = layer.choices
        let count = choices.tokenCount * choices.topK
        let order = (0..<count).sorted { (choices.experts[$0], $0) < (choices.experts[$1], $1) }
        tokens = order.map { $0 / choices.topK }
        weights = order.map { choices.weights[$0] }
        var places = [Int](repeating: 0, count: count)
        for (row, choice) in order.enumerated() { places[choice] = row }
        rowOfChoice = places
        ids = try AlignedBuffer(count: count, purpose: "experts of rows")
        for (row, choice) in order.enumerated() { ids.baseAddress[row] = choices.experts[choice] }
        x = try AlignedBuffer(count: count * shape.hidden * layer.x.format.bitCount / 8, purpose: "rows of experts")
        scales = try AlignedBuffer(count: count * (layer.x.scales?.rowStride ?? 0), purpose: "scales of rows")
        u = try AlignedBuffer(count: count * 2 * shape.intermediate, purpose: "gate and up")
        between = try AlignedBuffer(
            count: count * MegaMoEBetween.rowBytes(form, columnCount: shape.intermediate), purpose: "inner rows")
        made = try AlignedBuffer(count: count * shape.hidden, purpose: "results of experts")
    }

    /// Bytes of all that is between the parts.
    var byteCount: Int {
        x.count + scales.count + 2 * (u.count + made.count) + between.count
    }

    /// The layer, one part after the other.
    func run(on context: ComputeContext) throws(FathomError) {
        let shape = layer.shape
        try gemm(
            copied(on: context), layer.weights.gateUp, groups: .ids(UnsafePointer(ids.baseAddress)),
            into: MatrixResult(UnsafeMutableRawPointer(u.baseAddress), .bfloat16, stride: 2 * shape.intermediate),
            on: context)
        let inner = MegaMoEBetween(
            base: UnsafeMutableRawPointer(between.baseAddress), form: form, rowCount: tokens.count,
            columnCount: shape.intermediate)
        unit(inner, on: context)
        try gemm(
            inner.operand, layer.weights.down, groups: .ids(UnsafePointer(ids.baseAddress)),
            into: MatrixResult(UnsafeMutableRawPointer(made.baseAddress), .bfloat16, stride: shape.hidden),
            on: context)
        sum(on: context)
    }

    /// Tokens in the order of experts.
    private func copied(on context: ComputeContext) -> MatrixOperand {
        let source = layer.x
        let bytes = source.columnCount * source.format.bitCount / 8
        let scaleBytes = source.scales?.rowStride ?? 0
        forEachRow(on: context, bytes: bytes) { row, _ in
            (UnsafeMutableRawPointer(x.baseAddress) + row * bytes).copyMemory(
                from: source.baseAddress + tokens[row] * bytes, byteCount: bytes)
            if let scales = source.scales {
                (UnsafeMutableRawPointer(self.scales.baseAddress) + row * scaleBytes).copyMemory(
                    from: scales.baseAddress + tokens[row] * scaleBytes, byteCount: scaleBytes)
            }
        }
        var operand = source
        operand.baseAddress = UnsafeRawPointer(x.baseAddress)
        operand.rowCount = tokens.count
        operand.scales?.baseAddress = UnsafeRawPointer(scales.baseAddress)
        return operand
    }

    /// SiLU(gate)·up·weight, quantised or rounded.
    private func unit(_ inner: MegaMoEBetween, on context: ComputeContext) {
        let width = layer.shape.intermediate
        let blocks = ceilDivide(width, MegaMoEBetween.blockColumns)
        let result = ResultSlice(inner.result)
        forEachRow(on: context, bytes: 4 * width) { row, worker in
            let scratch = context.scratch(of: worker)
            context.kernels.decodeBFloat16(u.baseAddress + row * 2 * width, scratch, 2 * width, 1)
            context.kernels.siluMultiply(scratch, scratch + width, width)
            for column in 0..<width { scratch[column] *= weights[row] }
            let target = result.address(row: row, column: 0)
            guard let place = result.scales else {
                return context.kernels.roundBFloat16(scratch, target.assumingMemoryBound(to: UInt16.self), width)
            }
            let scales = scratch + width
            var arguments = QuantizeArguments(
                source: UnsafeRawPointer(scratch), sourceStride: 0, rowCount: 1, columnCount: width,
                blockColumns: MegaMoEBetween.blockColumns, powerOfTwoScales: true,
                codes: target.assumingMemoryBound(to: UInt8.self), codeStride: 0, scales: scales)
            context.kernels.quantizeE4M3Float32(&arguments)
            for block in 0..<blocks { place.store(scales[block], row: row, block: block) }
        }
    }

    /// Each token's rows in the order of its choices.
    private func sum(on context: ComputeContext) {
        let kernel = context.level.rowSums.bfloat16
        let (hidden, topK) = (layer.shape.hidden, layer.shape.topK)
        let result = ResultSlice(layer.result)
        context.team.run(taskCount: layer.shape.tokens) { token, _ in
            withUnsafeTemporaryAllocation(of: UnsafeRawPointer.self, capacity: topK) { parts in
                guard let start = parts.baseAddress else { return }
                for slot in 0..<topK {
                    let row = rowOfChoice[token * topK + slot]
                    (start + slot).initialize(to: UnsafeRawPointer(made.baseAddress + row * hidden))
                }
                var arguments = RowSumArguments(
                    parts: UnsafePointer(start), partCount: topK, weights: nil,
                    out: result.address(row: token, column: 0), count: hidden, streams: false)
                kernel(&arguments)
            }
        }
    }

    /// Calls `body` for every row, some of them in a task.
    private func forEachRow(
        on context: ComputeContext, bytes: Int, _ body: (_ row: Int, _ worker: Int) -> Void
    ) {
        let bundle = max(1, (1 << 17) / max(1, bytes), ceilDivide(tokens.count, 1 << 19))
        withoutActuallyEscaping(body) { body in
            context.team.run(taskCount: ceilDivide(tokens.count, bundle)) { task, worker in
                for row in task * bundle..<min((task + 1) * bundle, tokens.count) { body(row, worker) }
            }
        }
    }
}
