// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform

/// The contractions that MLA and its gradients need, in the notation of DeepGEMM's `einsum` and `fp8_einsum`.
///
/// The last letter of an operand is contiguous. Each form is one call of `gemm`:
///
/// | form | groups | rows of A, B, D | summed |
/// |---|---|---|---|
/// | `bmk,bnk->mn` | summed | m, n, m | k, and b in ascending order |
/// | `bhr,hdr->bhd` | h | b, d, b | r |
/// | `bhd,hdr->bhr` | h | b, r, b | d |
/// | `bhd,bhr->hdr` | h | d, r, d | b |
public enum EinsumForm: String, Sendable, CaseIterable {
    /// A sum of products, such as a weight gradient over batches.
    case sumOfProducts = "bmk,bnk->mn"
    /// Latent vectors into heads: values out of MLA's cache.
    case latentToHead = "bhr,hdr->bhd"
    /// Heads into latent vectors: MLA's absorbed queries.
    case headToLatent = "bhd,hdr->bhr"
    /// The gradient of the weight of the two before.
    case weightGradient = "bhd,bhr->hdr"

    /// - Throws: `usage` with all legal forms if `text` is none of them.
    public init(_ text: String) throws(FathomError) {
        guard let form = Self(rawValue: text.filter { $0 != " " }) else {
            let legal = Self.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
            throw FathomError(.usage, "no einsum '\(text)'; there are \(legal)")
        }
        self = form
    }
}

/// An operand of `einsum`: three extents, the last dimension contiguous.
public struct EinsumOperand {
    public var baseAddress: UnsafeRawPointer
    public var format: MatrixOperand.Format
    /// In the order of the form's letters.
    public var extents: [Int]
    /// Elements from one index to the next of the first and the second dimension.
    public var strides: [Int]
    /// Scales, as those of the matrices in the table of `EinsumForm`: rows, blocks of what is summed, groups.
    public var scales: BlockScales?

    /// - Parameter strides: nil for no gaps.
    public init(
        _ baseAddress: UnsafeRawPointer, _ format: MatrixOperand.Format, extents: [Int], strides: [Int]? = nil,
        scales: BlockScales? = nil
    ) {
        self.baseAddress = baseAddress
        self.format = format
        self.extents = extents
        self.strides = strides ?? (extents.count == 3 ? [extents[1] &* extents[2], extents[2]] : [])
        self.scales = scales
    }
}

/// D = the contraction `form` of x and y, plus C.
///
/// - Parameters:
///   - d: `stride` from one b to the next (for `bmk,bnk->mn` m, for `bhd,bhr->hdr` d), `groupStride` from one h to the
///     next.
/// - Throws: `usage` naming the operand, its extents and what is legal.
public func einsum(
    _ form: EinsumForm, _ x: EinsumOperand, _ y: EinsumOperand, adding c: MatrixAddend? = nil,
    into d: MatrixResult, on context: ComputeContext
) throws(FathomError) {
    let (a, b) = try form.operands(x, y)
    try gemm(a, b, groups: form == .sumOfProducts ? .summed : .batched, adding: c, into: d, on: context)
}

extension EinsumForm {
    /// The operands of the call of `gemm` that the form is.
    func operands(
        _ x: EinsumOperand, _ y: EinsumOperand
    ) throws(FathomError) -> (a: MatrixOperand, b: MatrixOperand) {
        let letters = rawValue.prefix { $0 != "-" }.split(separator: ",").map(Array.init)
        var extents: [Character: Int] = [:]
        for (name, operand, names) in [("x", x, letters[0]), ("y", y, letters[1])] {
            guard operand.extents.count == 3, operand.strides.count == 2 else {
                throw FathomError(
                    .usage,
                    "\(name) of '\(rawValue)' has \(operand.extents.count) extents and \(operand.strides.count) "
                        + "strides; 3 and 2 are legal")
            }
            for (letter, extent) in zip(names, operand.extents) {
                guard extents[letter, default: extent] == extent else {
                    throw FathomError(
                        .usage,
                        "\(letter) of '\(rawValue)' is \(extents[letter] ?? 0) in x and \(extent) in \(name); it must "
                            + "be the same")
                }
                extents[letter] = extent
            }
        }
        switch self {
        case .sumOfProducts: return (matrix(x, group: 0, row: 1), matrix(y, group: 0, row: 1))
        case .latentToHead: return (matrix(x, group: 1, row: 0), matrix(y, group: 0, row: 1))
        case .headToLatent: return (matrix(x, group: 1, row: 0), matrix(y, group: 0, summed: 1))
        case .weightGradient: return (matrix(x, group: 1, summed: 0), matrix(y, group: 1, summed: 0))
        }
    }

    /// Dimension `group` numbers the matrices, `row` their rows; K is the last one, contiguous.
    private func matrix(_ x: EinsumOperand, group: Int, row: Int) -> MatrixOperand {
        MatrixOperand(
            x.baseAddress, x.format, rowCount: x.extents[row], columnCount: x.extents[2], stride: x.strides[row],
            groupCount: x.extents[group], groupStride: x.strides[group], scales: x.scales)
    }

    /// Dimension `summed` is K; the rows are the last one, contiguous.
    private func matrix(_ x: EinsumOperand, group: Int, summed: Int) -> MatrixOperand {
        MatrixOperand(
            x.baseAddress, x.format, rowCount: x.extents[2], columnCount: x.extents[summed], order: .mnMajor,
            stride: x.strides[summed], groupCount: x.extents[group], groupStride: x.strides[group], scales: x.scales)
    }
}
