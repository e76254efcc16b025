// SPDX-License-Identifier: MIT

/// The floors of the house, as ARCHITECTURE.md shows them.
enum Floors {
    /// Modules by floor, lowest first.
    static let table: [[String]] = [
        ["CFathom", "CUCX"],
        ["Platform", "LowPrecision"],
        ["Tensors", "Workers", "Telemetry", "Ranks", "CUDA", "Simulation"],
        ["Kernels", "KernelsBaseline", "KernelsAVX2", "KernelsAVX512", "KernelDispatch"],
        ["DeepGEMM", "FlashMLA", "EPLB", "DeepEP", "ProfileData"],
        ["Tokenizers", "DeepSeekModel"],
        ["Inference", "Planner"],
        ["Server"],
        ["Commands", "fathom"],
    ]

    /// Imports inside one floor that the house allows.
    static let sideways: [String: Set<String>] = [
        "KernelsBaseline": ["Kernels"],
        "KernelsAVX2": ["Kernels"],
        "KernelsAVX512": ["Kernels"],
        "KernelDispatch": ["Kernels", "KernelsBaseline", "KernelsAVX2", "KernelsAVX512"],
        "fathom": ["Commands"],
    ]

    static let floor: [String: Int] = Dictionary(
        uniqueKeysWithValues: table.enumerated().flatMap { floor, modules in modules.map { ($0, floor) } })

    /// Whether `module` may import `other`, both of the house.
    static func allows(_ module: String, toImport other: String) -> Bool {
        guard let here = floor[module], let there = floor[other] else { return false }
        return there < here || sideways[module, default: []].contains(other)
    }

    /// The module that a line of code imports.
    static func importedModule(_ line: String) -> String? {
        line.firstMatch(of: importLine).map { String($0.output.module) }
    }

    private nonisolated(unsafe) static let importLine =
        #/
        ^\s* (?:@\w+(?:\([^)]*\))?\s+)* (?:(?:public|package|internal|private|fileprivate)\s+)? import\s+
        (?:(?:struct|class|enum|func|protocol|typealias|var|let)\s+)? (?<module>\w+)
        /#

    /// A product in a dependency list, with a condition or without.
    private nonisolated(unsafe) static let product =
        #/
        \.product\( [^()]* (?: \( [^()]* (?: \([^()]*\) [^()]* )? \) [^()]* )? \)
        /#

    /// Each target's dependencies inside the package, as Package.swift states them.
    static func declaredDependencies(manifest: String) -> [String: Set<String>] {
        var result: [String: Set<String>] = [:]
        let pieces = manifest.split(separator: /\.(?:target|executableTarget)\(\s*(?=name:)/).dropFirst()
        var owner: String?
        for piece in pieces {
            guard let name = piece.firstMatch(of: /^name:\s*"(\w+)"/)?.output.1 else { continue }
            if piece.contains(/^name:\s*"\w+",\s*condition:/), let owner {
                // A dependency with a condition, inside another target's list.
                result[owner, default: []].insert(String(name))
                continue
            }
            let products = piece.replacing(product, with: "")
            let list = products.firstMatch(of: /dependencies:\s*\[([^\]]*)/)?.output.1 ?? ""
            let names = list.matches(of: /"(\w+)"/).map { String($0.output.1) }
            result[String(name), default: []].formUnion(names.filter { floor[$0] != nil })
            if products.contains("+ kernelLevels") {
                result[String(name), default: []].formUnion(["KernelsBaseline", "KernelsAVX2", "KernelsAVX512"])
            }
            owner = String(name)
        }
        return result
    }
}
