// SPDX-License-Identifier: MIT

public import Platform

/// How a token's row of hidden numbers travels.
public struct RowFormat: Sendable, Hashable {
    /// What an element is.
    public enum Element: Sendable, Hashable {
        /// Two bytes each.
        case bfloat16
        /// Four bytes each, for models that compute in floats: nothing is rounded on the way.
        case float32
        /// FP8 E4M3, a byte each, and one scale for every 128 neighbours.
        case float8E4M3(Scales)
    }

    /// How the scales of an FP8 row lie: one for each started block of 128 numbers.
    public enum Scales: Sendable, Hashable {
        /// A float each.
        case float32
        /// Four UE8M0 exponents in a 32-bit word, the first in the lowest byte.
        case packedUE8M0
    }

    /// Numbers of a row.
    public let hidden: Int
    public let element: Element

    /// Numbers that share a scale.
    public static let scaleBlock = 128
    /// Numbers of a row at most.
    public static let maximumHidden = 1 << 20

    /// - Throws: `usage` unless `hidden` is 1 … `maximumHidden`.
    public init(hidden: Int, element: Element) throws(FathomError) {
        guard hidden >= 1, hidden <= Self.maximumHidden else {
            throw FathomError(.usage, "rows of \(hidden) numbers; 1 to \(Self.maximumHidden) are legal")
        }
        self.hidden = hidden
        self.element = element
    }

    /// Sums of such rows: floats as floats, everything else as BF16.
    var ofSums: RowFormat { RowFormat(unchecked: hidden, element == .float32 ? .float32 : .bfloat16) }

    private init(unchecked hidden: Int, _ element: Element) {
        self.hidden = hidden
        self.element = element
    }

    /// Bytes of the numbers alone.
    public var dataBytes: Int {
        switch element {
        case .bfloat16: hidden * 2
        case .float32: hidden * 4
        case .float8E4M3: hidden
        }
    }

    /// Scales of a row.
    public var scaleCount: Int {
        if case .float8E4M3 = element { (hidden + Self.scaleBlock - 1) / Self.scaleBlock } else { 0 }
    }

    /// Bytes of a row's scales.
    public var scaleBytes: Int {
        switch element {
        case .float8E4M3(.float32): scaleCount * 4
        case .float8E4M3(.packedUE8M0): (scaleCount + 3) / 4 * 4
        default: 0
        }
    }

    /// Where the scales begin in a row that carries them: behind the numbers, aligned to a float.
    public var scaleOffset: Int { (dataBytes + 3) / 4 * 4 }

    /// Bytes of a row: numbers, then scales.
    public var rowBytes: Int { scaleOffset + scaleBytes }
}
