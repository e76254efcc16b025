// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Platform
internal import Tensors

/// Scratch memory of one task, handed out piece by piece.
struct MHAScratch {
    private var next: UnsafeMutablePointer<Float>
    private var left: Int

    init(_ start: UnsafeMutablePointer<Float>) {
        next = start
        left = ComputeContext.scratchCount
    }

    /// `count` floats, at a multiple of 64 bytes.
    mutating func take(_ count: Int) -> UnsafeMutablePointer<Float> {
        let size = (count + 15) & ~15
        precondition(size <= left, "attention tiles are larger than the scratch memory")
        left -= size
        defer { next += size }
        return next
    }
}

/// Rows of a tile as they come and go: gathered and decoded for the kernels, rounded and scattered to results.
struct MHARowTransfer {
    let kernels: KernelTable

    /// Gathers one row as floats.
    func load(_ tensor: MHATensor, token: Int, head: Int, to target: UnsafeMutablePointer<Float>) {
        let source = tensor.row(token: token, head: head)
        if tensor.scalarType == .float32 {
            // SAFETY: a float32 view's rows are aligned floats (`MHARule`).
            target.update(from: source.assumingMemoryBound(to: Float.self), count: tensor.width)
        } else {
            kernels.decodeBFloat16(source, target, tensor.width, 1)
        }
    }

    /// Rounds one row to the view's type.
    func store(_ source: UnsafePointer<Float>, _ tensor: MHATensor, token: Int, head: Int) {
        let target = tensor.row(token: token, head: head)
        if tensor.scalarType == .float32 {
            // SAFETY: as above; the view is writable (`MHARule`).
            target.assumingMemoryBound(to: Float.self).update(from: source, count: tensor.width)
        } else {
            // SAFETY: a bfloat16 view's rows are aligned 16-bit numbers.
            kernels.roundBFloat16(source, target.assumingMemoryBound(to: UInt16.self), tensor.width)
        }
    }

    /// Query rows of one key head side by side, `stride` floats apart.
    func load(
        _ tensor: MHATensor, rows: MHARows, keyHead: Int, range: Range<Int>, to target: UnsafeMutablePointer<Float>,
        stride: Int
    ) {
        for (index, row) in range.enumerated() {
            load(
                tensor, token: rows.firstToken + row / rows.group, head: keyHead * rows.group + row % rows.group,
                to: target + index * stride)
        }
    }

    /// Rows of consecutive tokens of one head, dense. Copied even where they are floats already: far apart, they would
    /// fall on the same cache sets while they are packed.
    func load(
        _ tensor: MHATensor, head: Int, tokens: Range<Int>, to target: UnsafeMutablePointer<Float>
    ) {
        for (index, token) in tokens.enumerated() {
            load(tensor, token: token, head: head, to: target + index * tensor.width)
        }
    }
}

/// The causal limits of a tile's rows, relative to the tile's first key.
struct MHALimits {
    let values: UnsafeMutablePointer<Int32>

    init(_ scratch: inout MHAScratch) {
        // SAFETY: an Int32 has the size and alignment of a Float.
        values = UnsafeMutableRawPointer(scratch.take(MHASchedule.forwardRows))
            .bindMemory(to: Int32.self, capacity: MHASchedule.forwardRows)
    }

    /// Sets the limits for these rows and keys; returns whether every row sees every key.
    func set(_ rows: MHARows, range: Range<Int>, keys: Range<Int>) -> Bool {
        for (index, row) in range.enumerated() {
            values[index] = Int32(max(0, min(rows.limit(row) - keys.lowerBound, keys.count)))
        }
        return Int(values[0]) == keys.count
    }
}

/// Distance between rows that are read one number at a time: the excess keeps them from falling on the same cache sets.
func mhaRowStride(_ width: Int) -> Int { width + 16 }
