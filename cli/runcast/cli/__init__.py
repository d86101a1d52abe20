"""The command line: `runcast up | demo | publish | tail | doctor | bench`. The only room that may import all others."""
