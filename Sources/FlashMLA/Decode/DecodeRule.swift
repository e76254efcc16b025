// SPDX-License-Identifier: MIT

internal import Platform
internal import Tensors

/// The rules of dense decoding; each failure names the rule, what was given and what would be legal.
enum DecodeRule {
    /// The widest row of queries and cache: a tile of each must fit a thread's scratch memory.
    static let maximumWidth = 4064
    /// Elements that a view may span, so that no address overflows.
    private static let maximumSpan = Int.max / 16
    /// The largest count of anything.
    private static let maximumCount = 1 << 30
    /// Query rows (requests · tokens · heads) of one call: what a schedule lists must fit memory.
    static let maximumRows = 1 << 24
    /// Threads that a schedule is cut for.
    static let maximumThreads = 1 << 16

    static func check(lengths: [Int32]) throws(FathomError) {
        for (request, length) in lengths.enumerated() where length < 0 {
            throw FathomError(.usage, "the length of request \(request) is \(length); legal are 0 or more keys")
        }
    }

    /// A count of something that a call needs one of at least.
    static func check(count: Int, _ name: String, atMost limit: Int = maximumCount) throws(FathomError) {
        guard (1...limit).contains(count) else {
            throw FathomError(.usage, "\(name): \(count); legal are 1 to \(limit)")
        }
    }

    /// Query rows of a call, from counts that are legal by themselves.
    static func check(requests: Int, tokens: Int, heads: Int) throws(FathomError) {
        let (rows, overflow) = requests.multipliedReportingOverflow(by: tokens * heads)
        guard !overflow, rows <= maximumRows else {
            throw FathomError(
                .usage,
                """
                \(requests) requests with \(tokens) query tokens and \(heads) heads are more query rows than a call \
                may have; legal are up to \(maximumRows)
                """)
        }
    }

    static func check(heads: Int, keyHeads: Int) throws(FathomError) {
        try check(count: heads, "query heads")
        try check(count: keyHeads, "key heads")
        guard heads % keyHeads == 0 else {
            throw FathomError(
                .usage, "\(heads) query heads share \(keyHeads) key heads; the key heads must divide the query heads")
        }
    }

    static func check(scale: Float) throws(FathomError) {
        guard scale.isFinite else {
            throw FathomError(.usage, "the softmax scale is \(scale); it must be a finite number")
        }
    }

    /// A view of queries, results or partial results by itself.
    static func check(_ tensor: DecodeTensor, _ name: String) throws(FathomError) {
        guard tensor.scalarType == .float32 || tensor.scalarType == .bfloat16 else {
            throw FathomError(.usage, "\(name) is \(tensor.scalarType.rawValue); legal are F32 and BF16")
        }
        guard (0...maximumCount).contains(tensor.requestCount) else {
            throw FathomError(
                .usage, "\(name): \(tensor.requestCount) requests; legal are 0 to \(maximumCount)")
        }
        try check(count: tensor.tokenCount, "\(name): query tokens of a request")
        try check(count: tensor.headCount, "\(name): query heads")
        try check(width: tensor.width, name)
        try check(
            span: [tensor.requestCount, tensor.tokenCount, tensor.headCount],
            [tensor.requestStride, tensor.tokenStride, tensor.headStride], name, of: "requests, tokens and heads")
        try check(tensor.baseAddress, tensor.scalarType, name)
    }

    /// Results can be written to a view, which `check(_:_:)` found legal.
    static func check(writing tensor: DecodeTensor, _ name: String) throws(FathomError) {
        guard tensor.isWritable else {
            throw FathomError(
                .usage, "\(name) is a view for reading; results need one made by DecodeTensor(writing:)")
        }
        let extents = [tensor.requestCount, tensor.tokenCount, tensor.headCount]
        let strides = [tensor.requestStride, tensor.tokenStride, tensor.headStride]
        guard isDisjoint(extents, strides, width: tensor.width) else {
            throw FathomError(
                .usage,
                """
                rows of \(name) overlap: strides \(strides) of requests, tokens and heads for extents \(extents) of \
                rows \(tensor.width) wide; each stride must span all that lies within it
                """)
        }
    }

    /// Whether some order of the axes nests: each stride at least what the axes inside it span.
    private static func isDisjoint(_ extents: [Int], _ strides: [Int], width: Int) -> Bool {
        var span = width
        for axis in extents.indices.filter({ extents[$0] > 1 }).sorted(by: { strides[$0] < strides[$1] }) {
            guard strides[axis] >= span else { return false }
            span += (extents[axis] - 1) * strides[axis]
        }
        return true
    }

    static func check(width: Int, _ name: String) throws(FathomError) {
        guard (1...maximumWidth).contains(width) else {
            throw FathomError(.usage, "\(name): rows are \(width) wide; legal are 1 to \(maximumWidth)")
        }
    }

    static func check(
        span extents: [Int], _ strides: [Int], _ name: String, of axes: String
    ) throws(FathomError) {
        var span = 0
        for (extent, stride) in zip(extents, strides) {
            let (product, overflow) = stride.multipliedReportingOverflow(by: max(extent, 1))
            guard stride >= 0, !overflow, product < maximumSpan - span else {
                throw FathomError(
                    .usage,
                    "\(name): strides \(strides) of \(axes); legal are distances from 0 to what fits the address space"
                )
            }
            span += product
        }
    }

    static func check(
        _ address: UnsafeRawPointer, _ type: ScalarType, _ name: String
    ) throws(FathomError) {
        guard UInt(bitPattern: address) % UInt(type.byteCount) == 0 else {
            throw FathomError(
                .usage,
                "\(name) begins at an address that is no multiple of \(type.byteCount), the size of \(type.rawValue)")
        }
    }
}
