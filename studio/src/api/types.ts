/** Short names of the schema's types. */

import type { components } from "./schema";
import type { Entry, Rule, Segment } from "../state/segments";

type Schemas = components["schemas"];

export type Session = Schemas["Session"];
export type Model = Schemas["Model"];
export type Layer = Schemas["Layer"];
export type Picture = Schemas["Picture"];
export type ClassScore = Schemas["ClassScore"];
export type ClassChange = Schemas["ClassChange"];
export type RuleKind = Schemas["RuleKind"];
export type RuleParameter = Schemas["RuleParameter"];
export type RuleTemplate = Omit<Schemas["RuleTemplate"], "rule"> & { rule: Rule };
export type Rules = Omit<Schemas["Rules"], "templates"> & { templates: RuleTemplate[] };
export type Design = Omit<Schemas["Design"], "segments" | "others"> & { segments: Segment[] | null; others: Entry[] };
export type Explanation = Schemas["Explanation"];
export type RawMap = Schemas["Map"];
export type Replacement = NonNullable<Schemas["FlipRequest"]["how"]>;
export type Flipped = Schemas["Flipped"];
export type Curves = Schemas["Curves"];
export type Neurons = Schemas["Neurons"];
export type NeuronMaps = Schemas["NeuronMaps"];
export type Changed = Schemas["Changed"];
export type Conservation = Schemas["Conservation"];
export type Numbers = Schemas["Numbers"];
export type Code = Schemas["Code"];
export type Values = Schemas["Values"];

/** The preset that explains: a stored design, or segments that may not be saved yet. */
export type Source = { design: string } | { segments: Segment[]; others: Entry[] };
