// SPDX-License-Identifier: MIT

internal import DeepGEMM
internal import KernelDispatch
internal import Kernels
internal import Platform
internal import Synchronization
internal import Tensors
internal import Workers

/// A linear layer's weight, searched for numbers that are not finite before its first use.
///
/// Start-up does not read the weights, so the search waits until they are needed, when their pages must be read in
/// any case. An FP8 NaN would otherwise pass unseen: the kernels read its code as ±480.
final class StoredWeight: Sendable {
    let matrix: WeightMatrix
    private let isChecked = Atomic<Bool>(false)

    init(_ matrix: WeightMatrix) {
        self.matrix = matrix
    }

    /// Whether activations for it are to be quantised.
    var isFP8: Bool { matrix.format == .float8E4M3 }

    /// How a linear layer with this weight wants its input: in FP8 for FP8 weights, if so configured.
    func coding(_ configuration: DeepSeekConfiguration, quantizesActivations: Bool) -> LinearProblem.Coding {
        guard quantizesActivations, isFP8, let quantization = configuration.quantization else { return .float32 }
        return .float8E4M3(blockColumns: quantization.blockColumns)
    }

    /// Searches those of `weights` that were not searched before.
    ///
    /// - Throws: `badData`, naming the file, the tensor and the first bad element.
    static func check(_ weights: [StoredWeight], on context: ComputeContext) throws(FathomError) {
        let pending = weights.filter { !$0.isChecked.load(ordering: .acquiring) }
        guard !pending.isEmpty else { return }
        let faults = Mutex<[Int: Int]>([:])
        // Rows in stretches of about a megabyte, so that one large tensor uses the whole team.
        let parts = pending.enumerated().flatMap { index, weight in
            let rows = max(1, (1 << 20) / max(weight.matrix.rowStride, 1))
            return stride(from: 0, to: weight.matrix.outputCount, by: rows).map {
                (index: index, rows: $0..<min($0 + rows, weight.matrix.outputCount))
            }
        }
        for batch in stride(from: 0, to: parts.count, by: 1 << 19) {
            let slice = parts[batch..<min(batch + 1 << 19, parts.count)]
            context.team.run(taskCount: slice.count) { task, _ in
                let part = slice[slice.startIndex + task]
                guard let element = pending[part.index].firstNonFinite(in: part.rows, context) else { return }
                faults.withLock { $0[part.index] = min($0[part.index] ?? element, element) }
            }
        }
        if let fault = faults.withLock({ $0.min { $0.key < $1.key } }) {
            throw nonFiniteError(pending[fault.key].matrix.tensor, element: fault.value)
        }
        for weight in pending { weight.isChecked.store(true, ordering: .releasing) }
    }

    /// The same weight in block FP8, 128×128, in memory of its own: half the bytes of bfloat16.
    ///
    /// - Throws: `badData` if a weight is not finite, `configuration` for a weight that is not float32 or bfloat16,
    ///   `unavailable` without memory.
    func inBlockFloat8(on context: ComputeContext) throws(FathomError) -> StoredWeight {
        let element: FloatRows.Element
        switch matrix.format {
        case .float32: element = .float32
        case .bfloat16: element = .bfloat16
        case .float16, .float8E4M3:
            throw FathomError(
                .configuration,
                "\(matrix.tensor.sourcePath): \(matrix.tensor.name) is \(matrix.tensor.scalarType); only bfloat16 and "
                    + "float32 can be held in FP8")
        }
        try Self.check([self], on: context)
        let rows = try FloatRows(
            matrix.baseAddress, element: element, rowCount: matrix.outputCount, columnCount: matrix.inputCount)
        let quantized = try quantizeFloat8(rows, granularity: .perBlock(), on: context)
        let codes = quantized.codes
        // SAFETY: the view keeps the codes alive.
        let view = TensorView(
            name: matrix.tensor.name, scalarType: .float8E4M3, shape: [matrix.outputCount, matrix.inputCount],
            baseAddress: UnsafeRawPointer(codes.baseAddress), sourcePath: matrix.tensor.sourcePath, owner: codes)
        return StoredWeight(WeightMatrix(values: view, scales: quantized.scales.values))
    }

    private func firstNonFinite(in rows: Range<Int>, _ context: ComputeContext) -> Int? {
        let start = matrix.baseAddress + rows.lowerBound * matrix.rowStride
        let count = rows.count * matrix.inputCount
        let kernels = context.kernels
        let found =
            switch matrix.format {
            case .float32: kernels.firstNonFinite32(start, count)
            case .bfloat16: kernels.firstNonFinite16(start, count, 0x7F80)
            case .float16: kernels.firstNonFinite16(start, count, 0x7C00)
            case .float8E4M3: kernels.firstNonFinite8(start, count)
            }
        return found < 0 ? nil : rows.lowerBound * matrix.inputCount + found
    }
}

/// The error for an element that is NaN or infinite.
func nonFiniteError(_ tensor: TensorView, element: Int) -> FathomError {
    var index: [String] = []
    var rest = element
    for extent in tensor.shape.reversed() {
        index.insert(String(rest % extent), at: 0)
        rest /= extent
    }
    return FathomError(
        .badData,
        "\(tensor.sourcePath): tensor \(tensor.name) has a NaN or infinite number at "
            + "[\(index.joined(separator: ", "))]; every weight must be finite")
}
