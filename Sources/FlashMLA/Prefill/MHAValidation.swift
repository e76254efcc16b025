// SPDX-License-Identifier: MIT

internal import Platform
internal import Tensors

/// The rules of variable-length attention; each failure names the rule, what was given and what would be legal.
enum MHARule {
    /// The widest row of queries, keys or values: a tile of each must fit a thread's scratch memory.
    static let maximumWidth = 1024

    static func check(_ problem: MHAProblem, queries: MHATensor, keys: MHATensor) throws(FathomError) {
        try check(problem.queryOffsets, "queryOffsets", tokens: queries.tokenCount, of: "the queries")
        try check(problem.keyOffsets, "keyOffsets", tokens: keys.tokenCount, of: "the keys")
        guard problem.queryOffsets.count == problem.keyOffsets.count else {
            throw FathomError(
                .usage,
                """
                queryOffsets has \(problem.queryOffsets.count) entries and keyOffsets \
                \(problem.keyOffsets.count); both need one more than there are requests
                """)
        }
        guard problem.scale.isFinite else {
            throw FathomError(.usage, "the softmax scale is \(problem.scale); it must be a finite number")
        }
    }

    private static func check(
        _ offsets: [Int32], _ name: String, tokens: Int, of owner: String
    ) throws(FathomError) {
        guard let first = offsets.first, first == 0 else {
            let found = offsets.first.map { "begins with \($0)" } ?? "is empty"
            throw FathomError(.usage, "\(name) \(found); cumulative lengths begin with 0")
        }
        for index in 1..<max(offsets.count, 1) where offsets[index] < offsets[index - 1] {
            throw FathomError(
                .usage,
                "\(name)[\(index)] is \(offsets[index]) after \(offsets[index - 1]); cumulative lengths never fall")
        }
        guard let last = offsets.last, Int(last) == tokens else {
            throw FathomError(
                .usage,
                "\(name) ends with \(offsets.last ?? 0), but \(owner) have \(tokens) tokens; the two must be equal")
        }
    }

    /// Queries, keys and values fit each other.
    static func check(queries: MHATensor, keys: MHATensor, values: MHATensor) throws(FathomError) {
        try check(queries, "queries")
        try check(keys, "keys")
        try check(values, "values")
        guard queries.headCount % keys.headCount == 0 else {
            throw FathomError(
                .usage,
                """
                queries have \(queries.headCount) heads and keys \(keys.headCount); the key heads must divide the \
                query heads
                """)
        }
        try expect(keys, "keys", "width", keys.width, equals: queries.width, of: "the queries")
        try expect(values, "values", "heads", values.headCount, equals: keys.headCount, of: "the keys")
        try expect(values, "values", "tokens", values.tokenCount, equals: keys.tokenCount, of: "the keys")
    }

    /// `tensor` has the rows of `other`, `width` wide.
    static func check(
        _ tensor: MHATensor, _ name: String, like other: MHATensor, _ otherName: String, width: Int,
        written: Bool
    ) throws(FathomError) {
        try check(tensor, name)
        try expect(tensor, name, "tokens", tensor.tokenCount, equals: other.tokenCount, of: otherName)
        try expect(tensor, name, "heads", tensor.headCount, equals: other.headCount, of: otherName)
        guard tensor.width == width else {
            throw FathomError(.usage, "\(name) is \(tensor.width) wide; it must be \(width)")
        }
        guard written else { return }
        guard tensor.isWritable else {
            throw FathomError(
                .usage, "\(name) is a view for reading; results need one made by MHATensor(writing:)")
        }
        let heads = tensor.headCount - 1
        let tokens = max(tensor.tokenCount - 1, 0)
        let headRun = tensor.width + heads * tensor.headStride
        let tokenRun = tensor.width + tokens * tensor.tokenStride
        let isTokenMajor = (heads == 0 || tensor.headStride >= tensor.width) && tensor.tokenStride >= headRun
        let isHeadMajor =
            (tokens == 0 || tensor.tokenStride >= tensor.width) && tensor.headStride >= tokenRun
        guard tokens == 0 && (heads == 0 || tensor.headStride >= tensor.width) || isTokenMajor || isHeadMajor else {
            throw FathomError(
                .usage,
                """
                rows of \(name) overlap: strides \(tensor.tokenStride) of tokens and \(tensor.headStride) of heads \
                for \(tensor.headCount) heads \(tensor.width) wide; legal are a head stride of at least \
                \(tensor.width) and a token stride of at least \(headRun)
                """)
        }
    }

    /// One log-sum for each head and token.
    static func check(logSums count: Int, queries: MHATensor) throws(FathomError) {
        let legal = queries.headCount * queries.tokenCount
        guard count == legal else {
            throw FathomError(
                .usage,
                """
                the log-sums have \(count) elements; \(queries.headCount) heads of \(queries.tokenCount) tokens \
                need \(legal)
                """)
        }
    }

    private static func expect(
        _ tensor: MHATensor, _ name: String, _ extent: String, _ found: Int, equals legal: Int, of owner: String
    ) throws(FathomError) {
        guard found == legal else {
            throw FathomError(
                .usage, "\(name): \(extent) is \(found), but \(legal) in \(owner); the two must be equal")
        }
    }

    private static func check(_ tensor: MHATensor, _ name: String) throws(FathomError) {
        guard tensor.scalarType == .float32 || tensor.scalarType == .bfloat16 else {
            throw FathomError(.usage, "\(name) are \(tensor.scalarType.rawValue); legal are F32 and BF16")
        }
        guard tensor.tokenCount >= 0, tensor.headCount >= 1 else {
            throw FathomError(
                .usage,
                """
                \(name) have \(tensor.tokenCount) tokens and \(tensor.headCount) heads; legal are 0 tokens or more \
                and 1 head or more
                """)
        }
        guard (1...maximumWidth).contains(tensor.width) else {
            throw FathomError(.usage, "\(name) are \(tensor.width) wide; legal are 1 to \(maximumWidth)")
        }
        let tokens = tensor.tokenStride.multipliedReportingOverflow(by: max(tensor.tokenCount, 1))
        let heads = tensor.headStride.multipliedReportingOverflow(by: tensor.headCount)
        let limit = Int.max / 16
        guard tensor.tokenStride >= 0, tensor.headStride >= 0, !tokens.overflow, !heads.overflow,
            tokens.partialValue < limit, heads.partialValue < limit
        else {
            throw FathomError(
                .usage,
                """
                \(name): strides \(tensor.tokenStride) of tokens and \(tensor.headStride) of heads; legal are \
                distances from 0 to what fits the address space
                """)
        }
        guard UInt(bitPattern: tensor.baseAddress) % UInt(tensor.scalarType.byteCount) == 0 else {
            throw FathomError(
                .usage,
                """
                \(name) begin at an address that is no multiple of \(tensor.scalarType.byteCount), the size of \
                \(tensor.scalarType.rawValue)
                """)
        }
    }
}
