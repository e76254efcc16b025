// SPDX-License-Identifier: MIT

import Synchronization

/// What a span is of: a name, a category, and what its numbers mean. Made once, as a constant.
///
///     extension SpanKind { static let gemm = SpanKind("gemm", category: "compute", numbers: ["m", "n", "k"]) }
public struct SpanKind: Sendable {
    /// Numbers that a span carries at most.
    public static let maximumNumbers = 3
    /// Kinds at most; further ones share the last.
    static let maximumKinds = Int(UInt16.max)

    struct Description: Sendable {
        var name: String
        var category: String
        var numbers: [String]
    }

    let id: UInt16

    private static let registry = Mutex<[Description]>([])

    /// Registers a kind.
    public init(_ name: String, category: String, numbers: [String] = []) {
        precondition(numbers.count <= Self.maximumNumbers, "a span carries at most \(Self.maximumNumbers) numbers")
        id = Self.registry.withLock { kinds in
            if kinds.count <= Self.maximumKinds {
                kinds.append(Description(name: name, category: category, numbers: numbers))
            }
            return UInt16(kinds.count - 1)
        }
    }

    /// Every kind that was made, by id.
    static var all: [Description] { registry.withLock { $0 } }
}
