// SPDX-License-Identifier: MIT

/// What the compiler gives: machine code for one architecture, and what the assembler says about it.
public struct KernelBinary: Sendable, Equatable {
    /// An ELF file of the GPU.
    public let cubin: [UInt8]
    /// The symbol of each name expression.
    public let symbols: [String: String]
    /// The compiler's log with the assembler's report, without the times that it took.
    public let log: String
    /// One report for each kernel, in the log's order.
    public let reports: [KernelReport]

    package init(cubin: [UInt8], symbols: [String: String], log: String) {
        self.cubin = cubin
        self.symbols = symbols
        self.log = log
        self.reports = KernelReport.parse(log: log)
    }

    /// The symbol to ask a module for: the lowered name of a name expression, or the name itself.
    public func symbol(_ name: String) -> String { symbols[name] ?? name }

    /// The report on one kernel, by symbol or name expression; nil where the log has none.
    public func report(_ name: String) -> KernelReport? {
        let symbol = symbol(name)
        return reports.first { $0.symbol == symbol }
    }
}

extension KernelBinary: CustomStringConvertible {
    public var description: String {
        "\(cubin.count) bytes of machine code with \(reports.map(\.symbol).joined(separator: ", "))"
    }
}
