// SPDX-License-Identifier: MIT

/// What happens to a row of sums before it is stored, in this order:
///
///     y = alpha · (A·Bᵀ) + C + bias
///     z = y, or with `gate` silu(y[0 ..< N/2]) · y[N/2 ..< N]
///     D = z, its columns spread out by `heads`, rounded or quantised to D's format
///
/// With alpha = 1 the sum begins with C; otherwise alpha and C come in one multiply-add at its end.
public struct Epilogue {
    public var alpha: Float
    /// N numbers, or nil for none.
    public var bias: UnsafePointer<Float>?
    /// Whether D is SiLU(gate) · up. B's first N/2 rows are the gate, the others up; D has N/2 columns.
    public var gate: Bool
    /// Leaves gaps in D's rows, or nil for none.
    public var heads: HeadSplit?
    /// With a gate: the unit of `megaMoE` instead of SiLU(gate)·up alone.
    var unit: ExpertUnit?

    public init(
        alpha: Float = 1, bias: UnsafePointer<Float>? = nil, gate: Bool = false, heads: HeadSplit? = nil
    ) {
        self.alpha = alpha
        self.bias = bias
        self.gate = gate
        self.heads = heads
    }

    /// Columns that the product has before `heads` spreads them.
    func columnCount(outputs: Int) -> Int { gate ? outputs / 2 : outputs }

    /// Columns that a row of D spans, gaps included.
    public func resultColumns(outputs: Int) -> Int {
        let columns = columnCount(outputs: outputs)
        guard let heads else { return columns }
        return columns / (heads.left + heads.right) * (heads.left + heads.mid + heads.right)
    }
}

/// The shape of a head in D's rows where a gap is left for something else, such as the rotary part of a key
/// (DeepGEMM's `fp8_gemm_nt_skip_head_mid`): `left` columns of the product, a gap of `mid`, `right` columns.
public struct HeadSplit: Sendable, Hashable {
    public var left: Int
    public var mid: Int
    public var right: Int

    public init(left: Int, mid: Int, right: Int) {
        self.left = left
        self.mid = mid
        self.right = right
    }

    /// The column of D that column `n` of the product goes to, and how many from there on stay neighbours.
    func place(_ n: Int) -> (column: Int, run: Int) {
        let (head, inside) = n.quotientAndRemainder(dividingBy: left + right)
        let start = head * (left + mid + right)
        return inside < left
            ? (start + inside, left - inside) : (start + mid + inside, left + right - inside)
    }
}
