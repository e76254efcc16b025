// SPDX-License-Identifier: MIT

internal import Platform

// SAFETY: In this file choices are read, as many as the caller says there are; other addresses are compared, never
// followed.

/// The rules that the arguments keep. Each failure names what was given and what would be legal.
extension MegaMoECall {
    /// Slots of a token at most.
    static let slotLimit = 1 << 16

    /// - Parameter expertCount: what choices are from, of all ranks.
    func check(expertCount: Int) throws(FathomError) {
        try weights.check("the experts", hidden: x.columnCount)
        try shared?.check("the shared experts", hidden: x.columnCount)
        guard shared?.intermediate ?? weights.intermediate == weights.intermediate else {
            throw FathomError(
                .usage,
                "the shared experts have \(shared?.intermediate ?? 0) columns between their products and the others "
                    + "\(weights.intermediate); equal numbers are legal: several shared experts rather than a wide one")
        }
        guard x.groupCount == 1, x.gathered == nil else {
            throw FathomError(
                .usage, "x holds \(x.groupCount) matrices or is gathered; one matrix of all tokens is legal")
        }
        guard x.rowCount == choices.tokenCount else {
            throw FathomError(
                .usage,
                "x has \(x.rowCount) rows and there are choices for \(choices.tokenCount) tokens; equal "
                    + "numbers are legal")
        }
        guard y.format == .bfloat16 else {
            throw FathomError(.usage, "y is \(y.format.rawValue); bf16 is legal")
        }
        try options.check()
        try choices.check(expertCount: expertCount)
        guard slotCount <= Self.slotLimit else {
            throw FathomError(
                .usage,
                "\(slotCount) choices and shared experts for a token; \(Self.slotLimit) at most are legal")
        }
        try checkOperands()
    }

    /// Strides, scales and overlaps, as products look at them.
    private func checkOperands() throws(FathomError) {
        let tokens = x.rowCount
        for (name, matrices) in [("", weights)] + (shared.map { [("shared ", $0)] } ?? []) {
            // y as the second product's D; the first one's D is the workspace.
            let row = MatrixOperand(
                y.baseAddress, .float32, rowCount: 0, columnCount: matrices.intermediate)
            var one = matrices.down
            try named("a row between the products", "\(name)down") { () throws(FathomError) in
                one.groupCount = matrices.expertCount
                try GemmCall(a: row, b: one, d: y, epilogue: Epilogue()).check(resultRows: tokens, resultGroups: 1)
            }
            try named("x", "\(name)gateUp") { () throws(FathomError) in
                try GemmCall(
                    a: x, b: matrices.gateUp, d: MatrixResult(y.baseAddress, .bfloat16, stride: matrices.intermediate),
                    epilogue: Epilogue(gate: true)
                ).check(resultRows: 0, resultGroups: 1)
            }
            try requireApart(matrices.gateUp, "\(name)gateUp")
        }
        try requireApart(x, "x")
    }

    /// An error about A and B with what they are here.
    private func named(
        _ a: String, _ b: String, _ body: () throws(FathomError) -> Void
    ) throws(FathomError) {
        do throws(FathomError) { try body() } catch {
            throw FathomError(error.code, "with A = \(a), B = \(b) and D = y: \(error.message)")
        }
    }

    /// Extents and strides have been checked, so that no place overflows.
    private func requireApart(_ operand: MatrixOperand, _ name: String) throws(FathomError) {
        let hidden = weights.hidden
        guard choices.tokenCount > 0, hidden > 0, operand.rowCount > 0, operand.columnCount > 0, operand.groupCount > 0
        else { return }
        let (inner, outer) =
            operand.order == .kMajor
            ? (operand.columnCount, operand.rowCount) : (operand.rowCount, operand.columnCount)
        let elements = (operand.groupCount - 1) * operand.groupStride + (outer - 1) * operand.stride + inner
        let read = UInt(bitPattern: operand.baseAddress)
        let written = UInt(bitPattern: y.baseAddress)
        let readEnd = read + UInt((elements * operand.format.bitCount + 7) / 8)
        let writtenEnd = written + UInt(((choices.tokenCount - 1) * y.stride + hidden) * 2)
        guard readEnd <= written || writtenEnd <= read else {
            throw FathomError(.usage, "y overlaps \(name); they may not share memory")
        }
    }
}

extension MegaMoEWeights {
    /// The shapes of both matrices.
    func check(_ name: String, hidden: Int) throws(FathomError) {
        guard gateUp.groupCount == down.groupCount else {
            throw FathomError(
                .usage,
                "\(name) have \(gateUp.groupCount) matrices gateUp and \(down.groupCount) matrices down; one "
                    + "of each for an expert is legal")
        }
        guard gateUp.columnCount == hidden, down.rowCount == hidden else {
            throw FathomError(
                .usage,
                "\(name) have gateUp of \(gateUp.columnCount) columns and down of \(down.rowCount) rows; \(hidden), "
                    + "the numbers of a token, is legal for both")
        }
        let (double, overflow) = down.columnCount.multipliedReportingOverflow(by: 2)
        guard !overflow, gateUp.rowCount == double else {
            throw FathomError(
                .usage,
                "\(name) have gateUp of \(gateUp.rowCount) rows and down of \(down.columnCount) columns; gate and up "
                    + "together have twice as many rows as down has columns")
        }
        guard gateUp.gathered == nil, down.gathered == nil else {
            throw FathomError(.usage, "\(name) are gathered; only rows of A of a product can be")
        }
    }
}

extension MegaMoEChoices {
    /// Every choice is an expert, or −1.
    func check(expertCount: Int) throws(FathomError) {
        guard tokenCount >= 0, tokenCount <= 1 << 31, topK >= 0, topK <= MegaMoECall.slotLimit else {
            throw FathomError(
                .usage,
                "\(tokenCount) tokens with \(topK) choices each; 0…2^31 tokens and 0…\(MegaMoECall.slotLimit) choices "
                    + "are legal")
        }
        for choice in 0..<tokenCount * topK where experts[choice] < -1 || Int(experts[choice]) >= expertCount {
            throw FathomError(
                .usage,
                "token \(choice / topK) chooses expert \(experts[choice]) in slot \(choice % topK); legal are −1 for "
                    + "none and 0…\(expertCount - 1)")
        }
    }
}

extension MegaMoEOptions {
    func check() throws(FathomError) {
        guard let clamp else { return }
        guard clamp >= 0, clamp.isFinite else {
            throw FathomError(.usage, "a clamp of \(clamp); a finite number from 0 on is legal, or none")
        }
    }
}
