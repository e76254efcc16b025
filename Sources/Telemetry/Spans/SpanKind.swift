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
        var overlaps: Bool
    }

    let id: UInt16

    private static let registry = Mutex<[Description]>([])

    /// Registers a kind.
    ///
    /// - Parameter overlaps: whether such spans may begin and end on any thread and lie across each other, as requests
    ///   do; each is drawn on a line of its own then.
    public init(_ name: String, category: String, numbers: [String] = [], overlaps: Bool = false) {
        precondition(numbers.count <= Self.maximumNumbers, "a span carries at most \(Self.maximumNumbers) numbers")
        id = Self.registry.withLock { kinds in
            if kinds.count <= Self.maximumKinds {
                kinds.append(Description(name: name, category: category, numbers: numbers, overlaps: overlaps))
            }
            return UInt16(kinds.count - 1)
        }
    }

    /// Every kind that was made, by id.
    static var all: [Description] { registry.withLock { $0 } }
}
