// SPDX-License-Identifier: MIT

/// A binary heap of 64-bit keys, the smallest on top.
///
/// A key is a load's bits above an index. The bits of floats that are not negative order as the floats do, so that one
/// integer comparison decides by load and then by index.
struct KeyHeap {
    private var keys: [UInt64] = []

    /// Replaces what is there.
    mutating func fill(_ count: Int, _ key: (Int) -> UInt64) {
        keys.removeAll(keepingCapacity: true)
        for index in 0..<count { keys.append(key(index)) }
        var parent = count / 2
        while parent > 0 {
            parent -= 1
            sink(parent)
        }
    }

    var isEmpty: Bool { keys.isEmpty }
    var top: UInt64 { keys[0] }

    mutating func replaceTop(with key: UInt64) {
        keys[0] = key
        sink(0)
    }

    mutating func removeTop() {
        let last = keys.removeLast()
        if !keys.isEmpty { replaceTop(with: last) }
    }

    mutating func insert(_ key: UInt64) {
        keys.append(key)
        var child = keys.count - 1
        while child > 0, keys[(child - 1) / 2] > key {
            keys[child] = keys[(child - 1) / 2]
            child = (child - 1) / 2
        }
        keys[child] = key
    }

    private mutating func sink(_ start: Int) {
        let key = keys[start]
        var parent = start
        while true {
            var child = 2 * parent + 1
            guard child < keys.count else { break }
            if child + 1 < keys.count, keys[child + 1] < keys[child] { child += 1 }
            guard keys[child] < key else { break }
            keys[parent] = keys[child]
            parent = child
        }
        keys[parent] = key
    }
}

extension UInt64 {
    /// A key that orders by load, then by index, both ascending.
    init(ascending load: Float, _ index: Int) {
        self = UInt64(load.bitPattern) << 32 | UInt64(index)
    }

    /// A key that orders by load descending, then by index ascending.
    init(descending load: Float, _ index: Int) {
        self = UInt64(~load.bitPattern) << 32 | UInt64(index)
    }

    /// The index of a key.
    var keyIndex: Int { Int(self & 0xFFFF_FFFF) }
}
